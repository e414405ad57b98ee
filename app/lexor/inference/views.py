"""Views: boxes of a volume, seen through a window of fixed shape.

One kernel resamples both ways. An output sample is the mean of the input over an interval centred on it, as
wide as the larger of the two voxels: this is the area average where the view shrinks the volume, and linear
interpolation where it enlarges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lexor.geometry import Shape

Triple = tuple[float, float, float]


def triple(corner: Sequence[float]) -> Triple:
    """Three numbers (z, y, x) as floats."""
    z, y, x = corner
    return float(z), float(y), float(x)


def resampling_matrix(lower: float, upper: float, size: int, samples: int) -> Float[Tensor, "samples size"]:
    """Weights that turn `size` voxels into `samples` equal samples of the interval [lower, upper).

    Coordinates are voxel edges: voxel i covers [i, i + 1). Rows sum to one; what lies outside of the axis
    repeats its last voxel.
    """
    if not upper > lower:
        raise ValueError(f"the interval [{lower}, {upper}) is empty; upper must be greater than lower")
    step = (upper - lower) / samples
    width = max(step, 1.0)
    centre = lower + (torch.arange(samples, dtype=torch.float64) + 0.5) * step
    # An interval that reaches past the axis is cut there; one wholly outside becomes the nearest voxel.
    first = (centre - width / 2).clamp(0, size)[:, None]
    last = (centre + width / 2).clamp(0, size)[:, None]
    outside = last - first < 1e-9
    first = torch.where(outside, first.clamp(max=size - 1), first)
    last = torch.where(outside, first + 1, last)
    voxel = torch.arange(size, dtype=torch.float64)[None]
    overlap = (torch.minimum(last, voxel + 1) - torch.maximum(first, voxel)).clamp(min=0)
    return (overlap / overlap.sum(1, keepdim=True)).float()


def resample(volume: Tensor, lower: Triple, upper: Triple, shape: Shape) -> Float[Tensor, "C d h w"]:
    """The box [lower, upper) of a (C, D, H, W) volume in `shape` samples, float32, on the volume's device."""
    # Only voxels that some sample touches are read; the largest reduction comes first.
    out = volume
    axes = sorted(range(3), key=lambda a: shape[a] / (upper[a] - lower[a]))
    starts = [0, 0, 0]
    for axis in axes:
        touched = _touched(lower[axis], upper[axis], volume.shape[axis + 1])
        starts[axis] = touched.start
        out = out.narrow(axis + 1, touched.start, touched.stop - touched.start)
    out = out.float()
    for axis in axes:
        low = starts[axis]
        size = out.shape[axis + 1]
        matrix = resampling_matrix(lower[axis] - low, upper[axis] - low, size, shape[axis]).to(out.device)
        before, after = out.shape[: axis + 1], out.shape[axis + 2 :]
        if axis == 2:
            out = out @ matrix.T
        else:
            # Products of matrices as they lie in memory: tensordot would copy each result.
            out = (matrix @ out.reshape(*before, size, -1)).reshape(*before, shape[axis], *after)
    return out.contiguous()


def _touched(lower: float, upper: float, size: int) -> slice:
    """The voxels of an axis that samples of [lower, upper) are made of; one at least."""
    low = min(max(int(np.floor(lower)) - 1, 0), size - 1)
    return slice(low, max(min(int(np.ceil(upper)) + 1, size), low + 1))


@dataclass(frozen=True)
class View:
    """A box of the volume, [lower, upper) in voxel edges (z, y, x), seen as a window of `shape` samples."""

    lower: Triple
    upper: Triple
    shape: Shape

    @property
    def step(self) -> Triple:
        """Volume voxels per window voxel, (z, y, x)."""
        z, y, x = ((u - low) / n for low, u, n in zip(self.lower, self.upper, self.shape, strict=True))
        return z, y, x

    def part(self, lower: Shape, upper: Shape) -> View:
        """The window's voxels [lower, upper) as a view."""
        low, high = (
            triple([a + t * edge for a, t, edge in zip(self.lower, self.step, edges, strict=True)])
            for edges in (lower, upper)
        )
        z, y, x = (u - a for a, u in zip(lower, upper, strict=True))
        return View(low, high, (z, y, x))

    def read(self, volume: Tensor) -> Float[Tensor, "C d h w"]:
        """The window's samples of a (C, D, H, W) volume."""
        return resample(volume, self.lower, self.upper, self.shape)

    def touched(self, volume_shape: Shape) -> tuple[slice, slice, slice]:
        """The voxels of the volume that `read` depends on."""
        z, y, x = map(_touched, self.lower, self.upper, volume_shape)
        return z, y, x

    def seen_from(self, where: tuple[slice, slice, slice]) -> View:
        """The view in the coordinates of a part of the volume."""
        lower, upper = (
            triple([edge - s.start for edge, s in zip(edges, where, strict=True)])
            for edges in (self.lower, self.upper)
        )
        return View(lower, upper, self.shape)

    def edges_to_window(self, edges: Tensor) -> Tensor:
        """Continuous volume coordinates (..., 3) of voxel edges, in window voxel edges."""
        return (edges - edges.new_tensor(self.lower)) / edges.new_tensor(self.step)

    def points_to_window(self, points: Tensor) -> Tensor:
        """Voxel indices (..., 3) of the volume, in (fractional) voxel indices of the window."""
        return self.edges_to_window(points + 0.5) - 0.5

    def footprint(self, volume_shape: Shape) -> tuple[slice, slice, slice]:
        """The voxels of the volume whose centres lie in the view."""
        z, y, x = (
            slice(max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(u - 0.5)), n))
            for low, u, n in zip(self.lower, self.upper, volume_shape, strict=True)
        )
        return z, y, x

    def write(self, window: Tensor, volume_shape: Shape) -> tuple[tuple[slice, slice, slice], Tensor]:
        """The window's (C, d, h, w) values at the voxels of its `footprint`, and that footprint."""
        where = self.footprint(volume_shape)
        step = self.step
        low = tuple((s.start - a) / t for s, a, t in zip(where, self.lower, step, strict=True))
        high = tuple((s.stop - a) / t for s, a, t in zip(where, self.lower, step, strict=True))
        size = tuple(s.stop - s.start for s in where)
        return where, resample(window, low, high, size)
