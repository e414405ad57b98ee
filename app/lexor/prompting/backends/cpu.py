"""Automatic prompts on the CPU: the BLAS smooths, cc3d labels, threads share the slabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from lexor.cores import usable_cores
from lexor.geometry import Shape
from lexor.prompting.backends.base import slabs_of
from lexor.prompting.closing import close_with_ball
from lexor.prompting.smoothing import GaussianKernel, smooth_along_z, smooth_within_slices

T = TypeVar("T")
# Where a slab is worked on bit by bit, in buffers of a core's own cache, it may be so many times larger.
LARGE_SLABS = 4


class CpuBackend:
    """The numpy side of `ArrayBackend`."""

    name = "cpu"
    xp: Any = np
    # A slab of float32 that stays in a core's cache.
    slab_voxels = 1 << 18

    def computing(self) -> AbstractContextManager[None]:
        """Nothing to prepare, and nothing is kept."""
        return nullcontext()

    def upload(self, volume: np.ndarray) -> np.ndarray:
        """The volume itself."""
        return volume

    def download(self, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return array

    def smooth(self, volume: np.ndarray, sigma: float, truncate: float) -> np.ndarray:
        """See `ArrayBackend.smooth`."""
        kernel = GaussianKernel(sigma, truncate)
        smoothed = np.empty(volume.shape, dtype=np.float32)

        def along_z(slab: slice) -> None:
            smooth_along_z(volume[:, slab], smoothed[:, slab], kernel)

        def within_slices(slab: slice) -> None:
            smooth_within_slices(smoothed[slab], kernel)

        self.run(along_z, slabs_of(volume.shape, 1, LARGE_SLABS * self.slab_voxels))
        self.run(within_slices, slabs_of(volume.shape, 0, LARGE_SLABS * self.slab_voxels))
        return smoothed

    def close(self, mask: Callable[[slice], np.ndarray], shape: Shape, radius: int) -> np.ndarray:
        """See `ArrayBackend.close`; 64 voxels at a time."""
        closed: np.ndarray = close_with_ball(mask, shape, radius, self)
        return closed

    def label(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ArrayBackend.label`; cc3d numbers components as its scan meets them: raster order."""
        import cc3d

        labels, count = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26, return_N=True)

        def voxels(slab: slice) -> np.ndarray:
            # By runs of one label: far fewer than voxels, as components are solid things.
            flat = labels[slab].ravel()
            starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
            lengths = np.diff(starts, append=flat.size)
            return np.bincount(flat[starts], weights=lengths, minlength=count + 1)

        slabs = slabs_of(labels.shape, 0, LARGE_SLABS * self.slab_voxels)
        counts = np.zeros(count + 1)
        for part in self.run(voxels, slabs):
            counts += part
        return labels, counts[1:].astype(np.int64)

    def run(self, work: Callable[[slice], T], slabs: Sequence[slice]) -> list[T]:
        """See `ArrayBackend.run`; SciPy and numpy let go of the interpreter lock for most of the work."""
        threads = min(usable_cores(), len(slabs))
        if threads <= 1:
            return [work(slab) for slab in slabs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, slabs))
