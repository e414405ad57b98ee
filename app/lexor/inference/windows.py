"""Sliding windows on a region of interest, and how their answers are blended."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from lexor.geometry import Shape
from lexor.inference.views import Triple, View

OVERLAP = 0.5


def _starts(lower: float, upper: float, length: float, size: int, overlap: float) -> list[float]:
    """Starts of equal windows that cover [lower, upper) and stay on an axis of `size` voxels."""
    length = min(length, size)
    lower, upper = max(0.0, lower), min(float(size), upper)
    span = upper - lower
    if span <= length:
        start = (lower + upper - length) / 2
        return [min(max(start, 0.0), size - length)]
    count = math.ceil((span - length) / (length * (1 - overlap)) - 1e-9) + 1
    return [lower + i * (span - length) / (count - 1) for i in range(count)]


def sliding_views(
    lower: Triple, upper: Triple, step: Triple, window: Shape, volume_shape: Shape, overlap: float = OVERLAP
) -> list[View]:
    """Views of `window` samples, `step` voxels a sample, that cover the region [lower, upper).

    Neighbours overlap by at least `overlap` of their length; the windows stay inside the volume (an axis
    shorter than a window is seen whole).
    """
    axes = [
        [(s, s + min(step[a] * window[a], volume_shape[a])) for s in starts]
        for a in range(3)
        for starts in [_starts(lower[a], upper[a], step[a] * window[a], volume_shape[a], overlap)]
    ]
    return [View((z[0], y[0], x[0]), (z[1], y[1], x[1]), window) for z, y, x in itertools.product(*axes)]


def blending_weight(shape: Shape) -> Float[Tensor, "d h w"]:
    """Gaussian importance of a window's voxels, sigma an eighth of each axis's length as SegVol blends."""
    weight = torch.ones(1, 1, 1)
    for axis, size in enumerate(shape):
        position = (torch.arange(size) + 0.5) / size - 0.5
        profile = torch.exp(-position.square() / (2 * 0.125**2)).clamp(min=1e-3)
        view = [1, 1, 1]
        view[axis] = size
        weight = weight * profile.view(view)
    return weight
