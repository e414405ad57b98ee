"""The labels of a session's objects, changed part by part: a click costs no pass over the volume."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool

from lexor.geometry import Shape, extent
from lexor.inference.merging import Slices
from lexor.inference.steps import NOWHERE


def hull(parts: Collection[Slices | None]) -> Slices | None:
    """The smallest box that holds some boxes; None where there are none."""
    some = [part for part in parts if part is not None]
    if not some:
        return None
    z, y, x = (
        slice(min(part[axis].start for part in some), max(part[axis].stop for part in some))
        for axis in range(3)
    )
    return z, y, x


class Canvas:
    """Labels (D, H, W) of objects 1, 2, ..., 0 background, and where each object is.

    Args:
        shape: of the volume.
        labels: None where nothing was ever labelled. They are copied before they are changed.
    """

    def __init__(self, shape: Shape, labels: np.ndarray | None = None) -> None:
        self.shape = shape
        self.labels = labels
        self._owned = False
        # Each object is in a box of these, if not all over it; others may be anywhere in `_elsewhere`.
        self._within: dict[int, Slices | None] = {}
        self._elsewhere = None if labels is None else _whole(shape)

    def where(self, number: int) -> Slices | None:
        """The smallest box that holds an object; None where nothing of it is there."""
        within = self._within.get(number, self._elsewhere)
        if within is None or self.labels is None:
            return None
        inner = extent(self.labels[within] == number)
        self._within[number] = None if inner is None else _shifted(inner, within)
        return self._within[number]

    def mask(self, number: int) -> Bool[np.ndarray, "D H W"]:
        """The voxels of an object."""
        mask = np.zeros(self.shape, bool)
        where = self.where(number)
        if where is not None and self.labels is not None:
            mask[where] = self.labels[where] == number
        return mask

    def place(
        self, number: int, mask: Bool[np.ndarray, "D H W"], where: Slices | None, locked: Collection[int] = ()
    ) -> tuple[Slices, np.ndarray | None]:
        """Makes a mask an object's, but for the voxels that locked objects hold.

        Args:
            number: of the object.
            mask: of the volume.
            where: holds all of the mask; None: it is empty.
            locked: numbers of other objects.

        Returns:
            Where labels changed, and what they were there; None: there were none.
        """
        first, region = self.labels is None, hull([where, self.where(number)])
        labels = self._writable(np.uint8 if number <= 255 else np.uint16)
        if region is None:
            return NOWHERE, None if first else labels[NOWHERE]
        part = labels[region]
        held = part.copy()
        wanted = mask[region]
        if locked:
            wanted = wanted & ~np.isin(part, list(locked))
        part[part == number] = 0
        part[wanted] = number
        self._within[number] = region
        changed = None if first else extent(held != part)
        if changed is None:
            return NOWHERE, None if first else labels[NOWHERE]
        return _shifted(changed, region), held[changed].copy()

    def put_back(self, where: Slices, held: np.ndarray | None) -> None:
        """Undoes a change, given as `place` returned it."""
        if held is None:
            self.labels, self._within, self._elsewhere = None, {}, None
            return
        self._writable(held.dtype)[where] = held
        for number in map(int, np.unique(held)) if held.size else ():
            self._within[number] = hull([self._within.get(number, self._elsewhere), where])

    def _writable(self, dtype: npt.DTypeLike) -> np.ndarray:
        """The labels, made if there are none, of a type that holds a dtype's values too."""
        if self.labels is None:
            self.labels = np.zeros(self.shape, dtype)
        else:
            wide = np.promote_types(self.labels.dtype, dtype)
            if not self._owned or wide != self.labels.dtype:
                self.labels = self.labels.astype(wide)
        self._owned = True
        return self.labels


def _whole(shape: Shape) -> Slices:
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


def _shifted(inner: Slices, outer: Slices) -> Slices:
    """A box within another's coordinates, in those of the volume."""
    z, y, x = (slice(i.start + o.start, i.stop + o.start) for i, o in zip(inner, outer, strict=True))
    return z, y, x
