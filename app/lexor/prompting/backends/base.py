"""What Algorithm 1 asks of a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

# An array of the backend's own kind: numpy's on the CPU, CuPy's on the GPU.
Array = Any
T = TypeVar("T")


def slabs_of(shape: Sequence[int], axis: int, voxels: int) -> list[slice]:
    """Cut an axis so that each piece of the volume has about so many voxels."""
    length = shape[axis]
    step = max(1, voxels * length // math.prod(shape))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


class ArrayBackend(Protocol):
    """What Algorithm 1 needs beyond the functions that numpy and CuPy have in common."""

    name: str
    xp: Any
    """The array module: numpy, or CuPy."""
    slab_voxels: int
    """How many voxels to work on at a time, about."""

    def upload(self, volume: np.ndarray) -> Array:
        """The volume, (D, H, W), of any dtype that is not half or long precision, as this backend's array."""
        ...

    def download(self, array: Array) -> np.ndarray:
        """An array of this backend as numpy's."""
        ...

    def smooth(self, volume: Array, sigma: float, truncate: float) -> Array:
        """V_s: the Gaussian-smoothed volume, float32; edges mirrored (d c b a | a b c d | d c b a).

        Along z, then y, then x. Sums are float64 and each pass is stored as float32, as SciPy's
        `gaussian_filter` does with float32 output: so every backend rounds alike.
        """
        ...

    def label(self, mask: Array) -> tuple[Array, np.ndarray]:
        """26-connected components of a mask.

        Returns:
            Labels (D, H, W), 0 is background, numbered from 1 in raster order of their first voxels; and the
            components' voxel counts on the host, label 1 first.
        """
        ...

    def run(self, work: Callable[[slice], T], slabs: Sequence[slice]) -> list[T]:
        """Do the work on each slab, side by side where that is faster; the results in the slabs' order."""
        ...

    def release(self) -> None:
        """Give back the memory that the backend keeps for itself."""
        ...
