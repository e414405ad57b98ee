"""The order of slices in space: from a heap of them to one regular volume, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from lexor.errors import CaseError, Notes
from lexor.io.scans.model import reversed_axes, take_frame

_SAME: Final = 1e-2  # millimetres; nearer slices are at one position
_STEADY: Final = 0.02  # of the distance of slices; by so little every scanner is off
_UNEVEN: Final = 0.2  # by more than this, a slice is missing
_TILT: Final = 0.1  # degrees


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series, by its header.

    position: millimetres (x, y, z) of the middle of its first pixel, LPS. directions: unit vectors along a row
    (towards the next column) and along a column. pixel: millimetres between rows, and between columns.
    shape: rows, columns.
    slope, intercept: to the modality's values. distance: to the next slice, as the header says; 0 unknown.
    order: what slices at one position are sorted by. bits: of a pixel. frames: of the whole file.
    """

    path: Path
    frame: int | None
    position: Float[np.ndarray, " 3"]
    directions: Float[np.ndarray, "2 3"]
    pixel: Float[np.ndarray, " 2"]
    shape: tuple[int, int]
    slope: float
    intercept: float
    distance: float
    inverted: bool
    order: tuple[float, ...]
    uid: str
    bits: int
    frames: int

    @property
    def normal(self) -> Float[np.ndarray, " 3"]:
        """Unit vector at a right angle to the slice."""
        found: np.ndarray = np.cross(self.directions[0], self.directions[1])
        return found / (np.linalg.norm(found) or 1)


def pick_frame(
    name: str, slices: Sequence[Slice], frame: int | None, notes: Notes
) -> tuple[list[Slice], int]:
    """The slices of one volume, one at each position, and how many volumes there were.

    Copies of a slice (the same SOP instance) count once, with a note.
    Raises CaseError: slices of different sizes or directions; several at a position and no frame;
    not as many at each.
    """
    unique = {(one.uid or str(one.path), one.frame): one for one in slices}
    if len(unique) < len(slices):
        notes.append(
            f"{len(slices) - len(unique)} of {len(slices)} slices are copies of others; they are left out"
        )
    first, *others = unique.values()
    for one in others:
        if one.shape != first.shape or not np.allclose(one.pixel, first.pixel, rtol=1e-3):
            raise CaseError(
                f"{name}: slices differ in size: {first.path.name} is {first.shape} at {first.pixel.tolist()} mm, "
                f"{one.path.name} {one.shape} at {one.pixel.tolist()} mm; give one series of one size"
            )
        if not np.allclose(one.directions, first.directions, atol=1e-3):
            raise CaseError(
                f"{name}: slices are not parallel: {first.path.name} and {one.path.name}; give those of one direction"
            )
    groups: list[list[Slice]] = []
    last = -np.inf
    for one in sorted(unique.values(), key=lambda one: float(one.position @ first.normal)):
        place = float(one.position @ first.normal)
        if place - last > _SAME:
            groups.append([])
            last = place
        groups[-1].append(one)
    counts = sorted({len(group) for group in groups})
    if len(counts) > 1:
        raise CaseError(
            f"{name}: {counts[0]} to {counts[-1]} slices at a position; give one volume, or as many "
            "slices at each"
        )
    index = take_frame(name, (counts[0],), frame, "volumes at the same positions")
    return [sorted(group, key=lambda one: one.order)[index] for group in groups], counts[0]


def arrange(name: str, slices: Sequence[Slice], notes: Notes) -> tuple[list[Slice], Float[np.ndarray, "4 4"]]:
    """Slices in the order of their positions along the normal, and the geometry of their volume.

    slices: one at each position. Where the gantry was tilted the slices are shifted against one another: then the
    geometry is sheared, with a note, and no voxel is moved.
    Raises CaseError where slices are missing, or not along a line.
    """
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda one: float(one.position @ normal))
    first, last = ordered[0], ordered[-1]
    if len(ordered) == 1:
        step = normal * (first.distance or float(first.pixel.mean()))
        if not first.distance:
            notes.append("a single slice of unknown thickness; it is taken as that of a pixel")
    else:
        step = (last.position - first.position) / (len(ordered) - 1)
        _check_distances(name, ordered, normal, notes)
        _check_line(name, ordered, step)
        cosine = float(step @ normal) / float(np.linalg.norm(step))
        tilt = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        if tilt > _TILT:
            notes.append(
                f"the gantry was tilted by {tilt:.1f} degrees; slices stay where they are, each shifted "
                "against the last"
            )
    affine = np.eye(4)
    affine[:3, 0] = first.directions[0] * first.pixel[1]
    affine[:3, 1] = first.directions[1] * first.pixel[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return ordered, reversed_axes(affine)


def _check_distances(name: str, ordered: list[Slice], normal: Float[np.ndarray, " 3"], notes: Notes) -> None:
    places = np.array([float(one.position @ normal) for one in ordered])
    distances = np.diff(places)
    usual = float(np.median(distances))
    worst = int(np.argmax(np.abs(distances - usual)))
    off = abs(float(distances[worst]) - usual)
    between = f"{ordered[worst].path.name} and {ordered[worst + 1].path.name}"
    if off > _UNEVEN * usual:
        missing = np.rint(distances / usual) - 1
        count = int(missing[missing > 0].sum())
        what = f"{count} missing" if count else "uneven"
        raise CaseError(
            f"{name}: slices are {what}: {distances[worst]:.2f} mm from {between}, elsewhere {usual:.2f} mm; give "
            "all slices of one distance"
        )
    if off > max(_STEADY * usual, _SAME):
        notes.append(
            f"slices are {distances.min():.2f} to {distances.max():.2f} mm apart; they are taken as evenly spaced"
        )


def _check_line(name: str, ordered: list[Slice], step: Float[np.ndarray, " 3"]) -> None:
    """That each slice lies where a straight row of them has it, to half a pixel."""
    found = np.array([one.position for one in ordered])
    expected = found[0] + np.arange(len(ordered))[:, None] * step
    off = np.linalg.norm(found - expected, axis=1)
    allowed = max(0.5 * float(ordered[0].pixel.min()), _UNEVEN * float(np.linalg.norm(step)))
    if off.max() > allowed:
        one = ordered[int(off.argmax())]
        raise CaseError(
            f"{name}: slices are not in a row: {one.path.name} is {off.max():.2f} mm beside it; give slices "
            "of one stack"
        )
