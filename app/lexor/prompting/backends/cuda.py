"""Automatic prompts on an NVIDIA GPU: CuPy computes, cuCIM labels, only boxes' extents come back.

CuPy compiles its kernels when they are first called, for the GPU at hand, and keeps them in `$CUPY_CACHE_DIR`, else
in `~/.cupy/kernel_cache`. In the image that is `/tmp/.cupy/kernel_cache`, which a cold container finds empty. To
fill it, run `lexor prompt CASE.npz --device cuda` on the GPU in question, copy that folder to where `CUPY_CACHE_DIR`
points, and keep it writable: CuPy writes there when it meets another GPU. None of this was tried on a GPU. Until then
`device="auto"` leaves a cold GPU alone but for huge volumes (`lexor.prompting.backends.worth_a_gpu`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np

from lexor.prompting.backends.base import slabs_of

Array = Any
T = TypeVar("T")


@cache
def why_unusable() -> str | None:
    """Why the GPU backend cannot work in this process, or None where it can; asked once."""
    try:
        import cupy
        from cucim.skimage.measure import label  # noqa: F401

        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "no NVIDIA GPU is visible"
        # Finds out whether the driver and the run-time compiler fit the GPU.
        int(cupy.arange(3).sum())
    except ImportError as problem:
        return f"CuPy or cuCIM cannot be imported ({_first_line(problem)})"
    except Exception as problem:  # a broken CUDA set-up shows itself in many exceptions of several libraries
        return f"CuPy does not work here ({type(problem).__name__}: {_first_line(problem)})"
    return None


def is_warm() -> bool:
    """Whether this process has made CuPy compute already: its import and the CUDA context are behind it."""
    return why_unusable.cache_info().currsize > 0


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


class CudaBackend:
    """The CuPy side of `ArrayBackend`. Out of memory is a `MemoryError`, as CuPy's own error is."""

    name = "cuda"
    # The float64 copy of a slab takes 512 MiB.
    slab_voxels = 1 << 26

    def __init__(self) -> None:
        import cupy

        self.xp: Any = cupy

    def upload(self, volume: np.ndarray) -> Array:
        """Copy the volume to the current GPU, in its own dtype."""
        return self.xp.asarray(np.ascontiguousarray(volume))

    def download(self, array: Array) -> np.ndarray:
        """Copy an array to the host."""
        host: np.ndarray = self.xp.asnumpy(array)
        return host

    def smooth(self, volume: Array, sigma: float, truncate: float) -> Array:
        """See `ArrayBackend.smooth`.

        CuPy sums in the precision of its input, SciPy always in float64: with the input in float64 too, the
        float32 results agree except where the two sums, some 1e-16 apart, round to either side.
        """
        from cupyx.scipy.ndimage import gaussian_filter1d

        smoothed = self.xp.empty(volume.shape, dtype=np.float32)

        def smooth_axis(source: Array, axis: int, target: Array) -> None:
            exact = source.astype(np.float64)
            gaussian_filter1d(exact, sigma, axis=axis, output=target, mode="reflect", truncate=truncate)

        for slab in slabs_of(volume.shape, 1, self.slab_voxels):
            smooth_axis(volume[:, slab], 0, smoothed[:, slab])
        for slab in slabs_of(volume.shape, 0, self.slab_voxels):
            for axis in (1, 2):
                smooth_axis(smoothed[slab], axis, smoothed[slab])
        return smoothed

    def label(self, mask: Array) -> tuple[Array, np.ndarray]:
        """See `ArrayBackend.label`; cuCIM sorts components by their smallest flat index: raster order."""
        from cucim.skimage.measure import label

        labels = label(mask, connectivity=3)
        return labels, self.download(self.xp.bincount(labels.ravel()))[1:]

    def run(self, work: Callable[[slice], T], slabs: Sequence[slice]) -> list[T]:
        """See `ArrayBackend.run`; one after the other, each fills the GPU."""
        return [work(slab) for slab in slabs]

    def release(self) -> None:
        """Hand CuPy's cached blocks back to the driver: PyTorch has its own pool and wants the memory."""
        self.xp.get_default_memory_pool().free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()
