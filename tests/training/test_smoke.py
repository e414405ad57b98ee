from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from lexor.models.factory import create_model
from lexor.training.config import load_config
from lexor.training.loop import train
from lexor.training.records import read_log
from lexor.training.stream import Batches


def dice(answer: torch.Tensor, truth: torch.Tensor) -> list[float]:
    axes = (1, 2, 3, 4)
    return (2 * (answer & truth).sum(axes) / (answer.sum(axes) + truth.sum(axes))).tolist()


@pytest.mark.slow
def test_a_minute_of_training_learns(tmp_path: Path) -> None:
    """Steps for a minute: what a run of so many leaves does not depend on the machine."""
    config = load_config("smoke", {"budget.minutes": None, "budget.steps": 120})
    train(config, tmp_path, device="cpu")
    losses = [row["loss"] for row in read_log(tmp_path / "log.csv")]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.05

    model = create_model("mobilenet3d", weights=tmp_path / "average.safetensors")
    window = config.model.window
    assert window is not None
    # Another seed: none of these scenes was trained on.
    unseen = Batches(load_config("smoke", {"seed": 77}), window)
    scores: dict[str, list[float]] = {"model": [], "filled box": []}
    for image, batch, prompts in islice(unseen, 12):
        truth = batch.mask > 0.5
        with torch.inference_mode():
            logits = model.masks(model.encode(image), torch.arange(len(image)), prompts).logits
        scores["model"] += dice(logits > 0, truth)
        box = torch.zeros_like(truth)
        for filled, corners in zip(box[:, 0], prompts.confined(window).boxes.round().long(), strict=True):
            z1, y1, x1, z2, y2, x2 = corners.tolist()
            filled[z1:z2, y1:y2, x1:x2] = True
        scores["filled box"] += dice(box, truth)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    assert means["model"] > means["filled box"] + 0.03, means
