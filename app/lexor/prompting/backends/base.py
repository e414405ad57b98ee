"""What Algorithm 1 asks of a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np

from lexor.geometry import Shape

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

    def computing(self) -> AbstractContextManager[None]:
        """What everything else is called within; at its end the backend keeps no memory for itself."""
        ...

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

    def close(self, mask: Callable[[slice], Array], shape: Shape, radius: int) -> Array:
        """A mask, closed: dilation, then erosion, with the ball z^2 + y^2 + x^2 <= radius^2.

        Space goes on beyond the volume, empty before the dilation: a voxel of the mask is never lost, not at the
        border either. (The ball goes on too: in a volume of one slice it reaches out of the plane, and closes
        nothing.)

        Args:
            mask: gives the mask's slices, boolean (d, H, W) of the backend: it need not be in memory as a whole.
            shape: of the mask, (D, H, W).
            radius: of the ball, voxels, >= 0.

        Returns:
            Boolean (D, H, W), of the backend; contains the mask.
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
