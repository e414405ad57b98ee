"""Where automatic prompts are computed: what Algorithm 1 asks of a device, and the choice of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

# An array of the backend's own kind: numpy's on the CPU, CuPy's on the GPU.
Array = Any
T = TypeVar("T")

# NOT MEASURED: no GPU was at hand. Estimates, to be replaced by what `lexor bench prompts --device cuda` prints.
# The first prompt of a process imports CuPy and cuCIM, makes a CUDA context and loads or compiles kernels.
COLD_GPU_SECONDS = 5.0
# Later ones copy the volume, and launch some hundred kernels.
WARM_GPU_SECONDS = 0.02
# This one was measured, as processor time: what one free core does (160x512x512; two are faster yet).
CPU_VOXELS_PER_SECOND = 75e6


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


def select_backend(device: str, voxels: int | None = None) -> ArrayBackend:
    """The backend for a device.

    Args:
        device: "cpu"; "cuda", which needs CuPy, cuCIM and a GPU; or "auto", which is "cuda" where that works
            and is worth its start, and "cpu" elsewhere.
        voxels: of the volume to come. "auto" then leaves small volumes to the CPU: those that it finishes
            before the GPU would have started (`worth_a_gpu`).

    Raises:
        ValueError: no such device, or "cuda" where it does not work; the message says why.
    """
    from lexor.prompting.backends import cpu, cuda

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}: use 'auto', 'cpu' or 'cuda'")
    if device == "auto" and voxels is not None and not worth_a_gpu(voxels, cuda.is_warm()):
        return cpu.CpuBackend()
    if device != "cpu":
        reason = cuda.why_unusable()
        if reason is None:
            return cuda.CudaBackend()
        if device == "cuda":
            raise ValueError(
                f"device is 'cuda', but {reason}: install lexor[gpu] where a GPU is, or use 'cpu'"
            )
    return cpu.CpuBackend()


def worth_a_gpu(voxels: int, warm: bool) -> bool:
    """Whether the CPU would still be at a volume when a GPU, cold or warm, is ready to begin."""
    return voxels / CPU_VOXELS_PER_SECOND > (WARM_GPU_SECONDS if warm else COLD_GPU_SECONDS)
