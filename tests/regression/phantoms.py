"""Three synthetic cases of closed form, the same on every machine and whatever scenes training draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lexor.geometry import Box
from lexor.io.case import Case, write_case

SHAPE = (24, 64, 64)
SPACING = (2.0, 1.0, 1.0)


def ellipsoid(middle: tuple[int, int, int], radii: tuple[int, int, int]) -> np.ndarray:
    """A mask of `SHAPE`."""
    grid = np.ogrid[tuple(slice(n) for n in SHAPE)]
    return sum(((axis - m) / r) ** 2 for axis, m, r in zip(grid, middle, radii, strict=True)) <= 1


def lesion_in_an_organ() -> tuple[np.ndarray, np.ndarray]:
    """A lesion at the rim of an organ two dozen times its size: the most of it in the organ's outline, not all."""
    organ = ellipsoid((12, 32, 30), (9, 19, 20))
    lesion = ellipsoid((12, 32, 47), (4, 6, 6))
    return noisy(np.select([lesion, organ], [155, 140], 80)), np.select([lesion, organ], [2, 1], 0)


def two_hot_spots() -> tuple[np.ndarray, np.ndarray]:
    """A large and a small bright object apart from each other, in a darker body."""
    body, large, small = (
        ellipsoid((12, 32, 32), (14, 30, 28)),
        ellipsoid((11, 30, 26), (5, 9, 11)),
        ellipsoid((15, 44, 48), (3, 4, 4)),
    )
    return noisy(20 + 50 * body + 110 * large + 90 * small), np.where(large, 1, 0)


def slanted_tube() -> tuple[np.ndarray, np.ndarray]:
    """A dark tube that leaves the box of its middle slice."""
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    tube = ((y - 14 - 1.5 * z) ** 2 + (x - 40 + z) ** 2 <= 25) & (z > 1) & (z < 22)
    return noisy(150 - 60 * tube), np.where(tube, 1, 0)


def noisy(intensities: np.ndarray) -> np.ndarray:
    """A volume of them with Gaussian noise."""
    noise = np.random.default_rng(3).normal(0, 12, SHAPE)
    return np.clip(np.round(intensities + noise), 0, 255).astype(np.uint8)


PHANTOMS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "CT_lesion": lesion_in_an_organ,
    "PET_spots": two_hot_spots,
    "MR_tube": slanted_tube,
}


def write_phantom(name: str, folder: Path) -> Path:
    """Writes one of `PHANTOMS` with the challenge's boxes; its file."""
    volume, truth = PHANTOMS[name]()
    boxes = tuple(Box.measured(truth == label) for label in range(1, int(truth.max()) + 1))
    path = folder / f"{name}.npz"
    write_case(path, Case(name, volume, SPACING, boxes), truth)
    return path
