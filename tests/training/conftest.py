from pathlib import Path

import numpy as np
import pytest

from lexor.io.case import Case, write_case


def blob(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def write_labelled(path: Path, seed: int = 0, shape: tuple[int, int, int] = (16, 32, 32)) -> None:
    """A case of two bright balls, labels 1 and 3."""
    labels = np.zeros(shape, np.uint8)
    labels[blob(shape, (8, 12, 12), 5)] = 1
    labels[blob(shape, (8, 24, 24), 4)] = 3
    noise = np.random.default_rng(seed).normal(0, 10, shape)
    volume = np.clip(60 + 100 * (labels > 0) + noise, 0, 255).astype(np.uint8)
    write_case(path, Case(path.stem, volume, (2.0, 1.0, 1.0)), labels=labels)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven cases of three sources."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        write_labelled(folder / f"CT_alpha_{number}.npz", number)
    for number in range(2):
        write_labelled(folder / f"CT_beta_{number}.npz", 10 + number)
    write_labelled(folder / "MR_gamma_0.npz", 20)
    return folder
