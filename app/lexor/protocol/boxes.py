"""The challenge's boxes: measured on the middle slice, then loosened in the plane.

Source: the challenge's `boxes` key, and CVPR25_iter_eval.py (github JunMa11/CVPR-MedSegFMCompetition).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from lexor.geometry import Box


def loosen(box: Box, shape: Sequence[int], shift: int, plane: tuple[float, float] | None = None) -> Box:
    """The box with y and x moved out by `shift` pixels per 256 of the axis, as the organisers do it.

    Args:
        shape: of the volume (D, H, W), whose borders hold the box.
        shift: 0 to 5.
        plane: another size (H, W) to count the pixels by.
    """
    _, height, width = shape
    rows, columns = plane or (height, width)
    dy, dx = int(shift * rows / 256), int(shift * columns / 256)
    lower = (box.lower[0], max(0, box.lower[1] - dy), max(0, box.lower[2] - dx))
    upper = (box.upper[0], min(height, box.upper[1] + dy), min(width, box.upper[2] + dx))
    return Box(lower, upper, box.z_mid)


def draw_box(
    mask: Bool[np.ndarray, "D H W"], rng: np.random.Generator, plane: tuple[float, float] | None = None
) -> Box:
    """The box that the challenge gives of a mask that is not empty: measured, and loosened by a random shift.

    Args:
        plane: see `loosen`.
    """
    return loosen(Box.measured(mask), mask.shape, int(rng.integers(0, 6)), plane)
