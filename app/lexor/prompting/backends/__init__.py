"""Where automatic prompts are computed: what Algorithm 1 asks of a device, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

# An array of the backend's own kind: numpy's on the CPU, CuPy's on the GPU.
Array = Any
T = TypeVar("T")


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

    def smooth_axis(self, source: Array, axis: int, sigma: float, truncate: float, target: Array) -> None:
        """Gaussian smoothing along one axis, edges mirrored (d c b a | a b c d | d c b a), into `target`.

        Sums are float64, `target` is float32 and may be `source` itself: so every backend rounds alike.
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


def select_backend(device: str) -> ArrayBackend:
    """The backend for a device.

    Args:
        device: "cpu"; "cuda", which needs CuPy, cuCIM and a GPU; or "auto", which is "cuda" where that works
            and "cpu" elsewhere.

    Raises:
        ValueError: no such device, or "cuda" where it does not work; the message says why.
    """
    from lexor.prompting.backends import cpu, cuda

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}: use 'auto', 'cpu' or 'cuda'")
    if device != "cpu":
        reason = cuda.why_unusable()
        if reason is None:
            return cuda.CudaBackend()
        if device == "cuda":
            raise ValueError(
                f"device is 'cuda', but {reason}: install lexor[gpu] where a GPU is, or use 'cpu'"
            )
    return cpu.CpuBackend()
