"""Volumes to take the time on: a body with organs, vessels, bones, air and noise, of any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from lexor.geometry import Shape

# What both issue and README speak of: a CT of the trunk, and a small field of view.
SHAPES: tuple[Shape, ...] = ((160, 512, 512), (64, 256, 256))
ORGANS = 60


def body(shape: Shape, seed: int = 0) -> UInt8[np.ndarray, "D H W"]:
    """A CT-like volume: air, a body of even brightness, organs darker and brighter than it, noise.

    Args:
        shape: (D, H, W).
        seed: of organs and noise.
    """
    rng = np.random.default_rng(seed)
    _, height, width = shape
    y, x = np.ogrid[:height, :width]
    outline = ((y / height - 0.5) / 0.36) ** 2 + ((x / width - 0.5) / 0.46) ** 2 <= 1
    volume = np.empty(shape, dtype=np.float32)
    volume[:] = np.where(outline, 110, 4)
    for organ in _organs(shape, rng):
        _paint(volume, organ)
    for plane in volume:
        plane += rng.standard_normal(plane.shape, dtype=np.float32) * 9
    return np.clip(volume, 0, 255, out=volume).astype(np.uint8)


def organs(shape: Shape, seed: int = 0) -> UInt8[np.ndarray, "D H W"]:
    """The labels of a body's organs, 1 to `ORGANS`; later ones lie over those before."""
    labels = np.zeros(shape, np.uint8)
    for number, organ in enumerate(_organs(shape, np.random.default_rng(seed)), start=1):
        _paint(labels, replace(organ, value=number))
    return labels


@dataclass(frozen=True, eq=False)
class _Organ:
    """An ellipsoid: its centre and radii (z, y, x) in voxels, and the value of its voxels."""

    centre: Float[np.ndarray, 3]
    radii: Float[np.ndarray, 3]
    value: float


def _organs(shape: Shape, rng: np.random.Generator) -> Iterator[_Organ]:
    for _ in range(ORGANS):
        centre = (0.5 + rng.uniform((-0.5, -0.27, -0.35), (0.5, 0.27, 0.35))) * shape
        radii = rng.uniform(0.02, 0.13, 3) * shape
        yield _Organ(centre, radii, float(rng.choice([15, 60, 90, 130, 160, 190, 250])))


def _paint(volume: np.ndarray, organ: _Organ) -> None:
    """Fill an ellipsoid, cut by the border."""
    lower = np.maximum(np.floor(organ.centre - organ.radii), 0).astype(int)
    upper = np.minimum(np.ceil(organ.centre + organ.radii) + 1, volume.shape).astype(int)
    where = tuple(slice(low, high) for low, high in zip(lower, upper, strict=True))
    grid = np.ogrid[where]
    terms = [((axis - c) / r) ** 2 for axis, c, r in zip(grid, organ.centre, organ.radii, strict=True)]
    volume[where][terms[0] + terms[1] + terms[2] <= 1] = organ.value
