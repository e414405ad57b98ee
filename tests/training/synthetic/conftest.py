import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    """As the training's workers: tensors of a scene are too small to share out."""
    torch.set_num_threads(1)
