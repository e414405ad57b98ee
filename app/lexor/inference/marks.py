"""What has been said of an object; of scribbles and lassos, what the network is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Int

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks, Voxel, extent

# A scribble or lasso is shown to the network as so many clicks at most.
MOST_POINTS = 6


@dataclass(frozen=True, eq=False)
class Mark:
    """Voxels of which somebody has said whether they belong to an object.

    Attributes:
        voxels: (n, 3), z y x.
        positive: whether they do.
    """

    voxels: Int[np.ndarray, "n 3"]
    positive: bool

    @property
    def where(self) -> tuple[slice, slice, slice]:
        """The smallest box that holds them."""
        low, high = self.voxels.min(axis=0).tolist(), (self.voxels.max(axis=0) + 1).tolist()
        return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])

    def draw(self, mask: Bool[np.ndarray, "D H W"]) -> None:
        """Makes a mask say so, in place."""
        z, y, x = self.voxels.T
        mask[z, y, x] = self.positive


@dataclass(frozen=True, eq=False)
class Prompts:
    """What has been said of one object.

    Attributes:
        box: where it lies, if anybody has said it.
        guessed: whether part of the box is a guess, made from a flat box or a lasso.
        clicks: oldest first.
        marks: what was said of voxels, clicks and scribbles alike, oldest first.
        locked: whether its voxels are kept from being given to others.
        drawn: the boxes that `box` was made of, as they were given.
        waiting: whether something was said that its mask does not answer yet.
    """

    box: Box | None = None
    guessed: bool = False
    clicks: Clicks = field(default_factory=Clicks)
    marks: tuple[Mark, ...] = ()
    locked: bool = False
    drawn: tuple[Box, ...] = ()
    waiting: bool = False

    def boxed(self, box: Box, shape: tuple[int, ...], ratio: float) -> Prompts:
        """With one more box: it lies in the smallest that holds all of them, thickened if that is flat.

        Args:
            box: in the volume.
            shape: of the volume.
            ratio: slice distance over pixel size.
        """
        drawn = (*self.drawn, box)
        low = np.min([each.lower for each in drawn], axis=0)
        high = np.max([each.upper for each in drawn], axis=0)
        (z, y, x), (z_end, y_end, x_end) = low, high
        z_mid = box.z_mid if len(drawn) == 1 else (z + z_end - 1) // 2
        both = Box((z, y, x), (z_end, y_end, x_end), z_mid)
        whole = thickened(both, shape, ratio)
        # A flat box is drawn through an object; several of them may all miss its ends.
        guessed = whole != both or (len(drawn) > 1 and any(1 in each.shape for each in drawn))
        return replace(self, box=whole, guessed=guessed, drawn=drawn)

    def check(self, shape: tuple[int, ...]) -> None:
        """That all of it is about voxels of a volume (D, H, W); raises CaseError."""
        if self.box is not None and self.box != self.box.clipped(shape):
            raise CaseError(f"box {self.box.lower} to {self.box.upper} goes beyond a volume of shape {shape}")
        for voxels in (
            np.array(self.clicks.points, int).reshape(-1, 3),
            *(mark.voxels for mark in self.marks),
        ):
            if ((voxels < 0) | (voxels >= np.array(shape))).any():
                raise CaseError(f"there are prompts outside of the volume of shape {shape}")

    def clicked(self, points: Sequence[Voxel], positive: bool) -> Prompts:
        """With more clicks."""
        points_ = (*self.clicks.points, *points)
        return replace(self, clicks=Clicks(points_, (*self.clicks.foreground, *(positive for _ in points))))


def as_said(
    labels: np.ndarray, objects: Sequence[Prompts], held: np.ndarray | None, marked: bool
) -> np.ndarray:
    """Labels in which every object has what marks give it, and locked ones have what they held; changed in place.

    Args:
        labels: (D, H, W).
        objects: those with the labels 1, 2, ...
        held: the labels before; None where there were none.
        marked: whether marks count.
    """
    if held is not None:
        labels = labels.astype(np.promote_types(labels.dtype, held.dtype), copy=False)
    for number, prompts in enumerate(objects, start=1):
        if marked and prompts.marks:
            mask = labels == number
            for mark in prompts.marks:
                mark.draw(mask)
            labels[(labels == number) & ~mask] = 0
            labels[mask] = number
    for number, prompts in enumerate(objects, start=1):
        if prompts.locked and held is not None:
            labels[held == number] = number
    return labels


def sampled(region: Bool[np.ndarray, "D H W"], first: Voxel = (0, 0, 0)) -> list[Voxel]:
    """A few voxels of a region that is not empty: the innermost, then each the farthest from those before.

    The region begins at the volume's voxel `first`.

    Of a lasso they lie inside, half as deep as the innermost at least. A scribble has no inside: all of it counts.
    """
    from scipy import ndimage

    where = extent(region)
    assert where is not None
    depth = ndimage.distance_transform_edt(np.pad(region[where], 1))[1:-1, 1:-1, 1:-1]
    places = np.argwhere(depth >= depth.max() / 2)
    middle = int(np.argmax(depth[tuple(places.T)]))
    chosen = [middle]
    away = np.linalg.norm(places - places[middle], axis=1)
    # Nearer ones would say the same again.
    while len(chosen) < MOST_POINTS and away.max() > 2 * depth.max():
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(places - places[chosen[-1]], axis=1))
    start = [s.start + at for s, at in zip(where, first, strict=True)]
    return [(int(z), int(y), int(x)) for z, y, x in places[chosen] + start]


def thickened(box: Box, shape: tuple[int, ...], ratio: float) -> Box:
    """A box that is one voxel thick on an axis, made as thick there as it is wide; any other box as it is.

    Args:
        shape: of the volume (D, H, W), which holds the new box.
        ratio: slice distance over pixel size.
    """
    steps = (ratio, 1.0, 1.0)
    wide = [size * step for size, step in zip(box.shape, steps, strict=True) if size > 1]
    if not wide or len(wide) == len(box.shape):
        return box
    width = float(np.prod(wide) ** (1 / len(wide)))
    lower, upper = list(box.lower), list(box.upper)
    for axis in range(3):
        if box.shape[axis] == 1:
            half = round(width / steps[axis] / 2)
            lower[axis] = max(0, lower[axis] - half)
            upper[axis] = min(shape[axis], upper[axis] + half)
    return Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), box.z_mid)
