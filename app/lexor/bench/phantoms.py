"""Volumes to take the time on: a body with organs, vessels, bones, air and noise, of any size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from lexor.geometry import Box, Shape

# What both issue and README speak of: a CT of the trunk, and a small field of view.
SHAPES: tuple[Shape, ...] = ((160, 512, 512), (64, 256, 256))
ORGANS = 60

_Ellipsoid = tuple[np.ndarray, np.ndarray, float]


def body(shape: Shape, seed: int = 0, organs: int = ORGANS) -> UInt8[np.ndarray, "D H W"]:
    """A CT-like volume: air, a body of even brightness, organs darker and brighter than it, noise.

    Args:
        shape: (D, H, W).
        seed: of organs and noise.
        organs: how many; more than 60 are smaller.
    """
    rng = np.random.default_rng(seed)
    _, height, width = shape
    y, x = np.ogrid[:height, :width]
    outline = ((y / height - 0.5) / 0.36) ** 2 + ((x / width - 0.5) / 0.46) ** 2 <= 1
    volume = np.empty(shape, dtype=np.float32)
    volume[:] = np.where(outline, 110, 4)
    for centre, radii, value in _ellipsoids(rng, shape, organs):
        _paint(volume, centre, radii, value)
    for plane in volume:
        plane += rng.standard_normal(plane.shape, dtype=np.float32) * 9
    return np.clip(volume, 0, 255, out=volume).astype(np.uint8)


def organ_boxes(shape: Shape, seed: int = 0, organs: int = ORGANS) -> list[Box]:
    """Boxes of a body's organs, those first that are painted last: none of these is hidden by another.

    Left out are slivers, and those that are much longer than wide, which are segmented in another way.
    """
    boxes = []
    for centre, radii, _ in _ellipsoids(np.random.default_rng(seed), shape, organs):
        where = _bounds(centre, radii, shape)
        depth, height, width = (s.stop - s.start for s in where)
        if min(depth, height, width) >= 3 and depth <= 2 * min(height, width):
            (z, y, x), (z_end, y_end, x_end) = [s.start for s in where], [s.stop for s in where]
            boxes.append(Box((z, y, x), (z_end, y_end, x_end), (z + z_end) // 2))
    return boxes[::-1]


def _ellipsoids(rng: np.random.Generator, shape: Shape, organs: int) -> Iterator[_Ellipsoid]:
    """Centre and radii, in voxels, and the value of each organ."""
    scale = min(1.0, (ORGANS / organs) ** (1 / 3))
    for _ in range(organs):
        centre = (0.5 + rng.uniform((-0.5, -0.27, -0.35), (0.5, 0.27, 0.35))) * shape
        radii = rng.uniform(0.02, 0.13, 3) * shape * scale
        yield centre, radii, float(rng.choice([15, 60, 90, 130, 160, 190, 250]))


def _bounds(centre: np.ndarray, radii: np.ndarray, shape: Shape) -> tuple[slice, slice, slice]:
    """The voxels of the volume among which an ellipsoid lies."""
    lower = np.maximum(np.floor(centre - radii), 0).astype(int).tolist()
    upper = np.minimum(np.ceil(centre + radii) + 1, shape).astype(int).tolist()
    z, y, x = (slice(low, high) for low, high in zip(lower, upper, strict=True))
    return z, y, x


def _paint(volume: np.ndarray, centre: np.ndarray, radii: np.ndarray, value: float) -> None:
    """Fill an ellipsoid, cut by the border."""
    depth, height, width = volume.shape
    where = _bounds(centre, radii, (depth, height, width))
    grid = np.ogrid[where]
    terms = [((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)]
    part = volume[where]
    part[terms[0] + terms[1] + terms[2] <= 1] = value
