"""How the viewer turns a volume: to the axes right, anterior, superior, whatever the scan's own are.

The browser is only ever given volumes, labels and coordinates along these axes (*view order*: x to the patient's
right... to the left on the screen, y forward, z up), so that all turning happens here, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from lexor.geometry import Shape, Voxel

ViewVoxel = tuple[int, int, int]
"""A voxel in view order: x (to the right), y (to the front), z (up)."""


@dataclass(frozen=True)
class Orientation:
    """The way from a volume (D, H, W) to view order and back.

    Attributes:
        shape: of the volume (D, H, W).
        axes: for each of x, y, z the axis of the volume that runs along it: 0 is D, 1 is H, 2 is W.
        flipped: for each of x, y, z whether that axis runs against it.
        spacing: millimetres between voxels along x, y, z.
        affine: 4 x 4, from indices (x, y, z) in view order to millimetres right, anterior, superior.
    """

    shape: Shape
    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    spacing: tuple[float, float, float]
    affine: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], affine: Float[np.ndarray, "4 4"]) -> Orientation:
        """The orientation of a volume.

        Args:
            shape: (D, H, W).
            affine: from voxel indices (x, y, z), the volume's axes backwards, to millimetres right, anterior,
                superior, as in NIfTI. Oblique axes go to the nearest of x, y, z.
        """
        from nibabel import orientations

        typed: Any = orientations
        directions = typed.io_orientation(affine)
        axes, flipped = [0, 0, 0], [False, False, False]
        for axis, (goes_to, sign) in enumerate(directions):
            axes[int(goes_to)] = 2 - axis
            flipped[int(goes_to)] = bool(sign < 0)
        depth, height, width = shape
        turned = affine @ typed.inv_ornt_aff(directions, (width, height, depth))
        steps = np.linalg.norm(turned[:3, :3], axis=0)
        return cls(
            (depth, height, width),
            (axes[0], axes[1], axes[2]),
            (flipped[0], flipped[1], flipped[2]),
            (float(steps[0]), float(steps[1]), float(steps[2])),
            tuple(tuple(float(value) for value in row) for row in turned),
        )

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        x, y, z = (self.shape[axis] for axis in self.axes)
        return x, y, z

    def to_view(self, volume: Shaped[np.ndarray, "D H W"]) -> Shaped[np.ndarray, "Z Y X"]:
        """A volume, or labels, or a part of either, with the axes z, y, x of view order; contiguous."""
        turned = volume.transpose(self.axes[::-1])
        flips = tuple(i for i, flip in enumerate(self.flipped[::-1]) if flip)
        return np.ascontiguousarray(np.flip(turned, flips))

    def voxel(self, at: ViewVoxel) -> Voxel:
        """The index (z, y, x) in the volume of a voxel given in view order."""
        found = [0, 0, 0]
        for position, axis, flip in zip(at, self.axes, self.flipped, strict=True):
            found[axis] = self.shape[axis] - 1 - position if flip else position
        return found[0], found[1], found[2]

    def seen(self, voxel: Voxel) -> ViewVoxel:
        """The voxel in view order of an index (z, y, x) in the volume."""
        x, y, z = (
            self.shape[axis] - 1 - voxel[axis] if flip else voxel[axis]
            for axis, flip in zip(self.axes, self.flipped, strict=True)
        )
        return x, y, z

    def voxels(self, at: Shaped[np.ndarray, "n 3"]) -> Shaped[np.ndarray, "n 3"]:
        """`voxel` of many."""
        found = np.empty_like(at)
        for view_axis, (axis, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            position = at[:, view_axis]
            found[:, axis] = self.shape[axis] - 1 - position if flip else position
        return found

    def corners(self, first: ViewVoxel, last: ViewVoxel) -> tuple[Voxel, Voxel]:
        """A box of which two opposite voxels are given in view order, both inside: its first voxel in the volume, and
        the one just outside."""
        a, b = self.voxel(first), self.voxel(last)
        lower = min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2])
        return lower, (max(a[0], b[0]) + 1, max(a[1], b[1]) + 1, max(a[2], b[2]) + 1)

    def seen_corners(self, lower: Voxel, upper: Voxel) -> tuple[ViewVoxel, ViewVoxel]:
        """The first and the last voxel, in view order, of a box of the volume; `upper` lies just outside."""
        a, b = self.seen(lower), self.seen((upper[0] - 1, upper[1] - 1, upper[2] - 1))
        first = min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2])
        return first, (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]))
