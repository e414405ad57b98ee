"""Automatic prompts on the CPU: SciPy smooths, cc3d labels, threads share the slabs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class CpuBackend:
    """The numpy side of `ArrayBackend`."""

    name = "cpu"
    xp: Any = np
    # A slab of float32 that stays in a core's cache.
    slab_voxels = 1 << 18

    def upload(self, volume: np.ndarray) -> np.ndarray:
        """The volume itself."""
        return volume

    def download(self, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return array

    def smooth_axis(
        self, source: np.ndarray, axis: int, sigma: float, truncate: float, target: np.ndarray
    ) -> None:
        """See `ArrayBackend.smooth_axis`; SciPy sums in float64 and buffers lines, so in place is safe."""
        from scipy.ndimage import gaussian_filter1d

        gaussian_filter1d(source, sigma, axis=axis, output=target, mode="reflect", truncate=truncate)

    def label(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ArrayBackend.label`; cc3d numbers components as its scan meets them: raster order."""
        import cc3d

        labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
        counts = cc3d.statistics(labels, no_slice_conversion=True)["voxel_counts"]
        return labels, np.asarray(counts[1:], dtype=np.int64)

    def run(self, work: Callable[[slice], T], slabs: Sequence[slice]) -> list[T]:
        """See `ArrayBackend.run`; SciPy and numpy let go of the interpreter lock for most of the work."""
        threads = min(_usable_cores(), len(slabs))
        if threads <= 1:
            return [work(slab) for slab in slabs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, slabs))

    def release(self) -> None:
        """Nothing is kept."""


def _usable_cores() -> int:
    # A container may be given fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
