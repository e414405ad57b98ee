"""Every real volume beside the checkout: the CPU backend against the textbook, mask by mask and box by box."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lexor.bench import textbook
from lexor.prompting import IntensityParameters, auto_prompt
from lexor.prompting.backends.cpu import CpuBackend
from lexor.prompting.closing import close_with_ball

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
VOLUMES = [*sorted(DATA.glob("val/*.npz")), *sorted(DATA.glob("unlabelled/*.npz"))]
# The textbook is slow: of larger volumes every second voxel along y and x, every third, and so on.
VOXELS = 400_000


def read(path: Path, voxels: int = VOXELS) -> np.ndarray:
    with np.load(path) as file:
        volume: np.ndarray = file["imgs"]
    step = math.ceil(math.sqrt(max(volume.size / voxels, 1)))
    return volume[:, ::step, ::step]


@pytest.mark.parametrize("path", VOLUMES, ids=lambda path: path.stem)
def test_the_boxes_are_the_textbooks(path: Path) -> None:
    volume = read(path)
    assert auto_prompt(volume, top=5) == textbook.find_boxes(volume, top=5).boxes


@pytest.mark.parametrize("path", VOLUMES[::5], ids=lambda path: path.stem)
def test_other_parameters_give_the_textbooks_boxes(path: Path) -> None:
    volume = read(path, 100_000)
    for parameters in (
        IntensityParameters(sigma=1, low=-0.5, high=1, closing_radius=2, margin=0),
        IntensityParameters(sigma=3.5, low=0.2, high=9, closing_radius=4, truncate=2),
    ):
        expected = textbook.find_boxes(volume, 3, parameters).boxes
        assert auto_prompt(volume, top=3, parameters=parameters) == expected


@pytest.mark.parametrize("path", VOLUMES[::5], ids=lambda path: path.stem)
def test_masks_differ_at_most_on_a_threshold(path: Path) -> None:
    volume = read(path, 200_000)
    backend = CpuBackend()
    expected = textbook.smooth(volume)
    smoothed = backend.smooth(volume, 2.0, 4.0)
    assert np.count_nonzero(smoothed != expected) <= 2  # of sums some 1e-16 apart, hardly any round apart
    np.testing.assert_array_max_ulp(smoothed, expected, 1)
    low, high = textbook.thresholds(expected)
    mask = (expected > low) & (expected < high)
    closed = close_with_ball(mask.__getitem__, volume.shape, 3, backend)  # type: ignore[arg-type]
    np.testing.assert_array_equal(closed, textbook.close(mask, 3))
