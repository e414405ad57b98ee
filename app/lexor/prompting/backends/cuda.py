"""Automatic prompts on an NVIDIA GPU: the paper's pipeline on cuCIM; only boxes' extents come back.

None of this has run on a GPU yet. `make gpu-check` runs it, and says what it costs (docs/container.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, TypeVar

import numpy as np

from lexor.geometry import Shape
from lexor.prompting.backends.base import slabs_of
from lexor.prompting.backends.kernels import fill_kernel_cache

Array = Any
T = TypeVar("T")


@cache
def why_unusable() -> str | None:
    """Why the GPU backend cannot work in this process, or None where it can; asked once."""
    try:
        fill_kernel_cache()
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


def torch_computes() -> bool:
    """Whether torch has work on a GPU in this process: then a context and torch's memory pool are there."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


class CudaBackend:
    """The CuPy side of `ArrayBackend`. Out of memory is a `MemoryError`, as CuPy's own error is.

    Every step is one of cuCIM's where that gives the textbook's box, voxel for voxel:

    - Gaussian: yes, axis by axis on float64 (see `smooth`). In one call on float32, which is half the traffic, it
      sums and rounds otherwise than SciPy: voxels near a threshold change sides.
    - Closing: yes, the binary one, on a mask that is padded (see `close`). The isotropic one would give the same
      mask, but its distance transform holds several integers a voxel. Footprints in decomposed form, which are
      faster, are other shapes than the ball.
    - Components: yes, with the labels in the order of SciPy's raster scan.
    """

    name = "cuda"
    # The float64 copy of a slab takes 512 MiB.
    slab_voxels = 1 << 26

    def __init__(self) -> None:
        import cupy

        self.xp: Any = cupy

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within it CuPy works in torch's stream and takes memory from torch's pool, if torch uses the GPU as well.

        Else each would keep freed memory that the other wants. CuPy's allocator is the caller's again at the end;
        arrays that outlive it still go back to torch.
        """
        with ExitStack() as stack:
            if torch_computes():
                import torch

                stream = torch.cuda.current_stream()
                stack.enter_context(self.xp.cuda.Device(stream.device.index))
                stack.enter_context(self.xp.cuda.Stream.from_external(_Stream(stream.cuda_stream)))
                pool = self.xp.cuda.PythonFunctionAllocator(_torch_memory, _return_to_torch)
                stack.enter_context(self.xp.cuda.using_allocator(pool.malloc))
            try:
                yield
            finally:
                self._release()

    def upload(self, volume: np.ndarray) -> Array:
        """Copy the volume to the current GPU, in its own dtype."""
        return self.xp.asarray(np.ascontiguousarray(volume))

    def download(self, array: Array) -> np.ndarray:
        """Copy an array to the host."""
        host: np.ndarray = self.xp.asnumpy(array)
        return host

    def smooth(self, volume: Array, sigma: float, truncate: float) -> Array:
        """See `ArrayBackend.smooth`.

        cuCIM sums in the precision of its input, SciPy always in float64: with the input in float64 too, the
        float32 results agree except where the two sums, some 1e-16 apart, round to either side.
        """
        from cucim.skimage.filters import gaussian

        smoothed = self.xp.empty(volume.shape, dtype=np.float32)

        def smooth_axis(source: Array, axis: int, target: Array) -> None:
            sigmas = [0.0, 0.0, 0.0]
            sigmas[axis] = sigma
            exact = source.astype(np.float64)
            gaussian(exact, sigmas, mode="reflect", preserve_range=True, truncate=truncate, out=target)

        for slab in slabs_of(volume.shape, 1, self.slab_voxels):
            smooth_axis(volume[:, slab], 0, smoothed[:, slab])
        for slab in slabs_of(volume.shape, 0, self.slab_voxels):
            for axis in (1, 2):
                smooth_axis(smoothed[slab], axis, smoothed[slab])
        return smoothed

    def close(self, mask: Callable[[slice], Array], shape: Shape, radius: int) -> Array:
        """See `ArrayBackend.close`.

        cuCIM takes what lies beyond the array as full when it erodes. So the mask is padded by the radius: then no
        voxel of the volume reaches beyond.
        """
        from cucim.skimage.morphology import ball, binary_closing

        padded = self.xp.zeros([length + 2 * radius for length in shape], dtype=bool)
        inner = tuple(slice(radius, radius + length) for length in shape)
        for slab in slabs_of(shape, 0, self.slab_voxels):
            padded[inner][slab] = mask(slab)
        return self.xp.ascontiguousarray(binary_closing(padded, ball(radius))[inner])

    def label(self, mask: Array) -> tuple[Array, np.ndarray]:
        """See `ArrayBackend.label`; cuCIM sorts components by their smallest flat index: raster order."""
        from cucim.skimage.measure import label

        labels = label(mask, connectivity=3)
        return labels, self.download(self.xp.bincount(labels.ravel()))[1:]

    def run(self, work: Callable[[slice], T], slabs: Sequence[slice]) -> list[T]:
        """See `ArrayBackend.run`; one after the other, each fills the GPU."""
        return [work(slab) for slab in slabs]

    def _release(self) -> None:
        """Hand back what CuPy's own pools keep: nothing, as a rule, but the page-locked copy of the volume."""
        self.xp.get_default_memory_pool().free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()


class _Stream:
    """A stream of torch's for CuPy, by the CUDA stream protocol; older versions of torch do not speak it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


def _torch_memory(size: int, device: int) -> int:
    """The address of memory in torch's pool, for the work in torch's stream."""
    import torch

    try:
        stream = torch.cuda.current_stream(device)
        address: int = torch.cuda.caching_allocator_alloc(size, device, stream)
    except torch.cuda.OutOfMemoryError as problem:
        raise MemoryError(_first_line(problem)) from None
    return address


def _return_to_torch(address: int, device: int) -> None:
    import torch

    torch.cuda.caching_allocator_delete(address)  # type: ignore[no-untyped-call]
