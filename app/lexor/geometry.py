"""Boxes and clicks: prompts in voxel coordinates, and the challenge's dict form of a box."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from lexor.errors import CaseError, shown

Voxel = tuple[int, int, int]
Shape = tuple[int, int, int]

_AXES = (("z_min", "z_max"), ("z_mid_y_min", "z_mid_y_max"), ("z_mid_x_min", "z_mid_x_max"))
_LONGEST_NUMBER = 40
_DECIMALS = 3  # what is left of an index after arithmetic in float32


def nearest(value: float) -> int:
    """Nearest integer; the upper one of two that are equally near."""
    return math.floor(value + 0.5)


def voxel_index(value: object, rounded: Callable[[float], int] = nearest) -> int:
    """Voxel index that value is: a number, or text that is one; rounded: what makes a fraction whole.

    Raises CaseError, which says what it is instead.
    """
    number = value
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        with suppress(ValueError):
            number = float(value)
    if isinstance(number, int | np.integer) and not isinstance(number, bool):
        return int(number)
    if isinstance(number, float | np.floating) and math.isfinite(number):
        return rounded(round(float(number), _DECIMALS))
    raise CaseError(f"is {shown(value)}, not a number; give voxel indices")


def is_whole(value: object) -> bool:
    """Whether a voxel index is one as it stands."""
    return voxel_index(value, math.floor) == voxel_index(value, math.ceil)


@dataclass(frozen=True)
class Box:
    """A box of voxels, half-open: lower is inside, upper is just outside.

    lower, upper: voxel indices (z, y, x), lower < upper on every axis.
    z_mid: the slice on which the y and x extents were measured, lower[0] <= z_mid < upper[0]; the object may
    leave the box on other slices.
    Raises CaseError where these bounds do not hold.
    """

    lower: Voxel
    upper: Voxel
    z_mid: int

    def __post_init__(self) -> None:
        z, y, x = (int(bound) for bound in self.lower)
        z_end, y_end, x_end = (int(bound) for bound in self.upper)
        object.__setattr__(self, "lower", (z, y, x))
        object.__setattr__(self, "upper", (z_end, y_end, x_end))
        object.__setattr__(self, "z_mid", int(self.z_mid))
        if not (z < z_end and y < y_end and x < x_end):
            raise CaseError(
                f"box {self.lower} to {self.upper} is empty; lower must be below upper on every axis"
            )
        if not z <= self.z_mid < z_end:
            raise CaseError(f"z_mid is {self.z_mid}, outside {z} to {z_end - 1}; give a slice of the box")

    @property
    def shape(self) -> Voxel:
        """Size in voxels (z, y, x)."""
        (z, y, x), (z_end, y_end, x_end) = self.lower, self.upper
        return z_end - z, y_end - y, x_end - x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in a (D, H, W) array; for a box that lies inside it (see `clipped`)."""
        (z, y, x), (z_end, y_end, x_end) = self.lower, self.upper
        return slice(z, z_end), slice(y, y_end), slice(x, x_end)

    @property
    def centre(self) -> tuple[float, float, float]:
        """Middle of the box in voxel indices (z, y, x): that of a single voxel is the voxel's index."""
        z, y, x = ((low + high - 1) / 2 for low, high in zip(self.lower, self.upper, strict=True))
        return z, y, x

    def clipped(self, volume_shape: tuple[int, ...]) -> Box:
        """Part of the box inside a volume of shape (D, H, W); z_mid moves to the nearest slice of it.

        Raises CaseError where box and volume have no voxel in common.
        """
        z, y, x = (max(bound, 0) for bound in self.lower)
        z_end, y_end, x_end = (min(bound, size) for bound, size in zip(self.upper, volume_shape, strict=True))
        if not (z < z_end and y < y_end and x < x_end):
            raise CaseError(
                f"box {shown(self.lower)} to {shown(self.upper)} is outside the volume of shape "
                f"{volume_shape}; give voxel indices of this volume"
            )
        return Box((z, y, x), (z_end, y_end, x_end), min(max(self.z_mid, z), z_end - 1))

    def shifted(self, by: Voxel) -> Box:
        """The box that many voxels (z, y, x) further on."""
        (z, y, x), (z_end, y_end, x_end) = self.lower, self.upper
        dz, dy, dx = by
        return Box((z + dz, y + dy, x + dx), (z_end + dz, y_end + dy, x_end + dx), self.z_mid + dz)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], volume_shape: tuple[int, ...]) -> Box:
        """Box from the challenge's dict, clipped to a volume of shape (D, H, W).

        d: z_min, z_max, z_mid, z_mid_y_min, z_mid_y_max, z_mid_x_min, z_mid_x_max: voxel indices in closed
        intervals, numbers of any type or text of them. Fractions are rounded outwards, to hold what they
        held. A z_mid that is missing or not a number becomes the middle slice; one outside z_min..z_max the
        nearest slice (`box_remarks` says so).
        Raises CaseError naming key, value and remedy: a bound that is missing or not a number, max below min,
        or no voxel inside the volume.
        Source: the challenge's `boxes` key.
        """
        bounds = [(_bound(d, low, math.floor), _bound(d, high, math.ceil)) for low, high in _AXES]
        for (low_key, high_key), (low, high), size in zip(_AXES, bounds, volume_shape, strict=True):
            if high < low:
                raise CaseError(
                    f"{high_key} is {shown(high)}, below {low_key} {shown(low)}; "
                    f"give the smaller one as {low_key}"
                )
            if high < 0 or low >= size:
                key, value = (high_key, high) if high < 0 else (low_key, low)
                raise CaseError(
                    f"{key} is {shown(value)}, so the box is outside the volume of shape {volume_shape}; "
                    "give voxel indices of this volume"
                )
        (z, z_max), (y, y_max), (x, x_max) = bounds
        try:
            z_mid = min(max(voxel_index(d.get("z_mid")), z), z_max)
        except CaseError:
            z_mid = None
        box = cls((z, y, x), (z_max + 1, y_max + 1, x_max + 1), z if z_mid is None else z_mid)
        box = box.clipped(volume_shape)
        if z_mid is None:  # the middle of what is inside the volume
            return replace(box, z_mid=(box.lower[0] + box.upper[0] - 1) // 2)
        return box

    def to_dict(self) -> dict[str, int]:
        """Challenge's dict of the box: closed intervals, Python integers; the inverse of `from_dict`."""
        (z, y, x), (z_end, y_end, x_end) = self.lower, self.upper
        return {
            "z_min": z,
            "z_max": z_end - 1,
            "z_mid": self.z_mid,
            "z_mid_x_min": x,
            "z_mid_y_min": y,
            "z_mid_x_max": x_end - 1,
            "z_mid_y_max": y_end - 1,
        }

    @classmethod
    def measured(cls, mask: Bool[np.ndarray, "D H W"]) -> Box:
        """Box of a mask, not empty, as the challenge measures it: z of the whole, y and x of its middle slice.

        Of an even number of slices the later of the two in the middle is taken.
        """
        slices = np.flatnonzero(mask.any((1, 2)))
        middle = slices[len(slices) // 2]
        rows, columns = np.flatnonzero(mask[middle].any(1)), np.flatnonzero(mask[middle].any(0))
        return cls((slices[0], rows[0], columns[0]), (slices[-1] + 1, rows[-1] + 1, columns[-1] + 1), middle)

    @classmethod
    def whole(cls, volume_shape: tuple[int, ...]) -> Box:
        """Box of a whole volume of shape (D, H, W), with the middle slice as z_mid."""
        depth, height, width = volume_shape
        return cls((0, 0, 0), (depth, height, width), (depth - 1) // 2)


@dataclass(frozen=True)
class Clicks:
    """The clicks on one class, oldest first.

    points: voxel indices (z, y, x). foreground: for each, whether it says "this belongs to the class"
    (else "this does not").
    Raises CaseError where the two differ in length.
    """

    points: tuple[Voxel, ...] = ()
    foreground: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if len(self.points) != len(self.foreground):
            raise CaseError(
                f"{len(self.points)} points with {len(self.foreground)} foreground flags; "
                "give one flag per point"
            )

    @property
    def pointing(self) -> tuple[Voxel, ...]:
        """The points that lie in the class: those of foreground clicks; all, where no click is foreground."""
        inside = tuple(p for p, foreground in zip(self.points, self.foreground, strict=True) if foreground)
        return inside or self.points


def box_remarks(d: Mapping[str, Any]) -> list[str]:
    """What `Box.from_dict` puts right without an error, in words: the fractions and the z_mid of a usable box."""
    remarks = [
        f"{key} is {shown(d[key])}; the box is widened to whole voxels, give voxel indices"
        for pair in _AXES
        for key in pair
        if not is_whole(d[key])
    ][:1]
    if "z_mid" not in d:
        return [*remarks, "z_mid is missing; the middle slice is used, give the slice measured on"]
    try:
        z_mid = voxel_index(d["z_mid"])
    except CaseError as error:
        return [*remarks, f"z_mid {error}; the middle slice is used"]
    z_min, z_max = voxel_index(d["z_min"], math.floor), voxel_index(d["z_max"], math.ceil)
    if not z_min <= z_mid <= z_max:
        remarks.append(
            f"z_mid is {shown(z_mid)}, outside z_min..z_max ({shown(z_min)}..{shown(z_max)}); "
            "the nearest slice is used, give the slice measured on"
        )
    return remarks


def _bound(d: Mapping[str, Any], key: str, rounded: Callable[[float], int]) -> int:
    if key not in d:
        raise CaseError(
            f"{key} is missing; a box needs all of {', '.join(k for pair in _AXES for k in pair)}"
        )
    try:
        return voxel_index(d[key], rounded)
    except CaseError as error:
        raise CaseError(f"{key} {error}") from None


def extent(mask: Bool[np.ndarray, "D H W"]) -> tuple[slice, slice, slice] | None:
    """The smallest box of a mask, None if it is empty."""
    ends = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not found.size:
            return None
        ends.append(slice(int(found[0]), int(found[-1]) + 1))
    return ends[0], ends[1], ends[2]
