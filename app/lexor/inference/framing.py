"""Where to look: the view of a volume that suits a prompt (object-centric zoom-out)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lexor.geometry import Clicks, Shape
from lexor.inference.settings import SETTINGS, Framing
from lexor.inference.views import Triple, View


def in_plane_ratio(spacing: Triple | None) -> float:
    """Slice distance over pixel size, 1 if unknown.

    `spacing` should be (D, H, W), but files written through SimpleITK carry (x, y, z); pixels are square far
    more often than not, so the two equal values tell which is which.
    """
    if spacing is None:
        return 1.0
    z, y, x = spacing
    if not np.isclose(y, x, rtol=0.02) and np.isclose(z, y, rtol=0.02):
        z, y, x = x, y, z
    return float(np.clip(z / np.sqrt(y * x), 0.2, 10.0))


def frame(
    lower: Triple,
    upper: Triple,
    volume_shape: Shape,
    window: Shape,
    ratio: float = 1.0,
    framing: Framing | None = None,
) -> View:
    """The view of a box [lower, upper), clipped to the volume, never thinner than one voxel.

    Args:
        ratio: slice distance over pixel size, see `in_plane_ratio`.
    """
    framing = framing or SETTINGS.framing
    size = [u - a for a, u in zip(lower, upper, strict=True)]
    reach = 2 * framing.drift * size[0] * ratio
    wanted = (
        size[0] * framing.factor_z,
        max(size[1] * framing.factor_in_plane, size[1] + reach),
        max(size[2] * framing.factor_in_plane, size[2] + reach),
    )
    low, high = [], []
    for axis in range(3):
        half = max(wanted[axis], framing.minimum[axis]) / 2
        centre = (lower[axis] + upper[axis]) / 2
        n = volume_shape[axis]
        a, b = max(0.0, centre - half), min(float(n), centre + half)
        if b - a < 1:
            a = min(max(0.0, centre - 0.5), n - 1.0)
            b = a + 1
        low.append(a)
        high.append(b)
    return View((low[0], low[1], low[2]), (high[0], high[1], high[2]), window)


def click_views(clicks: Clicks, volume_shape: Shape, window: Shape, ratio: float = 1.0) -> list[View]:
    """Views around foreground clicks (all clicks where none is foreground), small to large.

    Nobody knows the size of a target that is only clicked. The largest view spans the volume, or the
    largest size past the clicks.
    """
    points = np.array(clicks.pointing, dtype=float)
    views: list[View] = []
    for size in SETTINGS.searching.views:
        half = np.array([max(size / ratio, SETTINGS.framing.minimum[0]), size, size]) / 2
        low = np.maximum(points.min(0) + 0.5 - half, 0)
        high = np.minimum(points.max(0) + 0.5 + half, volume_shape)
        view = View((low[0], low[1], low[2]), (high[0], high[1], high[2]), window)
        if not views or view != views[-1]:
            views.append(view)
    return views


def normalise(window: Tensor) -> Tensor:
    """z-score over a window (C, d, h, w), clipped at 5; a constant window becomes zeros."""
    deviation = window.std(correction=0)
    return ((window - window.mean()) / torch.clamp(deviation, min=1e-3)).clamp(-5, 5)
