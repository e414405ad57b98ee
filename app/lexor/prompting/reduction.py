"""Reducing a volume to a size at which it can be searched."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

Voxel = tuple[int, int, int]

# An axis is not reduced to fewer voxels than this while another one can be.
_FEWEST = 4


def reduction_factors(shape: Voxel, most: int, ratio: float = 1.0) -> Voxel:
    """Whole factors (z, y, x), the smallest that leave at most `most` voxels, and those as near to cubes as can be.

    Args:
        shape: of the volume (D, H, W).
        most: voxels, >= 1.
        ratio: slice distance over pixel size.
    """
    along_z, in_plane = 1, 1

    def sizes() -> tuple[int, int, int]:
        return -(-shape[0] // along_z), -(-shape[1] // in_plane), -(-shape[2] // in_plane)

    while math.prod(sizes()) > most:
        depth, height, width = sizes()
        z_can, plane_can = depth > _FEWEST, max(height, width) > _FEWEST
        if z_can and (along_z * ratio < in_plane or not plane_can):
            along_z += 1
        elif plane_can:
            in_plane += 1
        else:  # few voxels were asked for: all axes alike
            along_z, in_plane = along_z + 1, in_plane + 1
    return along_z, in_plane, in_plane


def block_means(volume: np.ndarray, factors: Voxel) -> Float[np.ndarray, "d h w"]:
    """Means of blocks of `factors` voxels, float32; of a block that reaches past the volume, of what it holds."""
    out = volume if volume.dtype.kind == "f" or max(factors) > 1 else volume.astype(np.float32)
    for axis in (2, 1, 0):
        size, factor = volume.shape[axis], factors[axis]
        if factor == 1:
            continue
        starts = np.arange(0, size, factor)
        counts = np.diff([*starts, size]).astype(np.float32)
        out = np.add.reduceat(out, starts, axis=axis, dtype=np.float32)
        out /= counts.reshape([-1 if a == axis else 1 for a in range(3)])
    return out.astype(np.float32, copy=False)
