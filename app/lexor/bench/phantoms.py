"""Volumes to take the time on: a body with organs, vessels, bones, air and noise, of any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from lexor.geometry import Box, Shape

# What both issue and README speak of: a CT of the trunk, and a small field of view.
SHAPES: tuple[Shape, ...] = ((160, 512, 512), (64, 256, 256))
ORGANS = 60


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
    for organ in _organs(shape, rng, organs):
        _paint(volume, organ)
    for plane in volume:
        plane += rng.standard_normal(plane.shape, dtype=np.float32) * 9
    return np.clip(volume, 0, 255, out=volume).astype(np.uint8)


def organs(shape: Shape, seed: int = 0) -> UInt8[np.ndarray, "D H W"]:
    """The labels of a body's organs, 1 to `ORGANS`; later ones lie over those before."""
    labels = np.zeros(shape, np.uint8)
    for number, organ in enumerate(_organs(shape, np.random.default_rng(seed), ORGANS), start=1):
        _paint(labels, replace(organ, value=number))
    return labels


def organ_boxes(shape: Shape, seed: int = 0, organs: int = ORGANS) -> list[Box]:
    """Boxes of a body's organs, those first that are painted last: none of these is hidden by another.

    Left out are slivers, and those that are much longer than wide, which are segmented in another way.
    """
    boxes = []
    for organ in _organs(shape, np.random.default_rng(seed), organs):
        where = organ.bounds(shape)
        depth, height, width = (s.stop - s.start for s in where)
        if min(depth, height, width) >= 3 and depth <= 2 * min(height, width):
            (z, y, x), (z_end, y_end, x_end) = [s.start for s in where], [s.stop for s in where]
            boxes.append(Box((z, y, x), (z_end, y_end, x_end), (z + z_end) // 2))
    return boxes[::-1]


@dataclass(frozen=True, eq=False)
class _Organ:
    """An ellipsoid: its centre and radii (z, y, x) in voxels, and the value of its voxels."""

    centre: Float[np.ndarray, 3]
    radii: Float[np.ndarray, 3]
    value: float

    def bounds(self, shape: Shape) -> tuple[slice, slice, slice]:
        """The voxels of the volume among which it lies."""
        lower = np.maximum(np.floor(self.centre - self.radii), 0).astype(int).tolist()
        upper = np.minimum(np.ceil(self.centre + self.radii) + 1, shape).astype(int).tolist()
        z, y, x = (slice(low, high) for low, high in zip(lower, upper, strict=True))
        return z, y, x


def _organs(shape: Shape, rng: np.random.Generator, count: int) -> Iterator[_Organ]:
    scale = min(1.0, (ORGANS / count) ** (1 / 3))
    for _ in range(count):
        centre = (0.5 + rng.uniform((-0.5, -0.27, -0.35), (0.5, 0.27, 0.35))) * shape
        radii = rng.uniform(0.02, 0.13, 3) * shape * scale
        yield _Organ(centre, radii, float(rng.choice([15, 60, 90, 130, 160, 190, 250])))


def _paint(volume: np.ndarray, organ: _Organ) -> None:
    """Fill an ellipsoid, cut by the border."""
    depth, height, width = volume.shape
    where = organ.bounds((depth, height, width))
    grid = np.ogrid[where]
    terms = [((axis - c) / r) ** 2 for axis, c, r in zip(grid, organ.centre, organ.radii, strict=True)]
    volume[where][terms[0] + terms[1] + terms[2] <= 1] = organ.value
