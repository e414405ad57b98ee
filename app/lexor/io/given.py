"""The prompts that a user gives beside a scan: by options, by files, by a mask; all become those of a case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Integer

from lexor.errors import CaseError, Notes, shown
from lexor.geometry import Box, Clicks, Voxel, nearest
from lexor.io.case import MAX_PREVIOUS, Case
from lexor.io.labels import present
from lexor.io.prompt_files import VOXEL, Drawn, Point, box_corners, read_prompt_files
from lexor.io.scan import is_scan, name_of, read_mask
from lexor.io.scans.model import Scan, flipped

MaskAs = Literal["box", "previous"]
_DECIMALS: Final = 3  # of a voxel; what is left of it after millimetres that a format rounds
_JSON: Final = (".mrk.json", ".json")


@dataclass(frozen=True)
class GivenPrompts:
    """What was asked for, before there is a scan.

    boxes: texts "Z0,Y0,X0,Z1,Y1,X1", both corners inside; one class each. clicks, background: texts "Z,Y,X", or
    "CLASS:Z,Y,X" where there are several classes.
    world: these are millimetres, in the order x, y, z: LPS, of NIfTI RAS.
    files: of prompts (see `prompt_files`), or folders of them, where the one named as the scan is taken.
    mask: labels of any format on the scan's grid, or a folder of them. mask_as: whether its labels become
    boxes, or are the previous answer.
    """

    boxes: tuple[str, ...] = ()
    clicks: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    world: bool = False
    files: tuple[Path, ...] = ()
    mask: Path | None = None
    mask_as: MaskAs = "box"

    def __bool__(self) -> bool:
        return bool(self.boxes or self.clicks or self.background or self.files or self.mask)

    def check(self, count: int) -> None:
        """That prompts make sense for so many scans: what is found wrong before any of them is read.

        Raises CaseError where prompts of one scan are given for several, an option cannot be read, or a file is
        missing.
        """
        single = self.boxes or self.clicks or self.background or any(not path.is_dir() for path in self.files)
        if count > 1 and (single or (self.mask is not None and not self.mask.is_dir())):
            raise CaseError(
                f"these prompts are for one scan, and there are {count}; give one, or to --prompts and --from-mask "
                "folders with a file of each scan's name"
            )
        _of_options(self, VOXEL)
        for option, path in (*(("--prompts", path) for path in self.files), ("--from-mask", self.mask)):
            if path is not None and not path.exists():
                raise CaseError(f"{option}: {path}: no such file or folder; give one that is there")


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts in voxels of a scan, as a case has them.

    names: of the classes that have one. warnings: of boxes that were cut, one line each.
    """

    boxes: tuple[Box | None, ...] = ()
    clicks: tuple[Clicks, ...] = ()
    previous: Integer[np.ndarray, "D H W"] | None = None
    unasked: frozenset[int] = frozenset()
    names: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def into(self, case: Case) -> Case:
        """The case with these in place of its own prompts."""
        return replace(
            case,
            boxes=self.boxes,
            clicks=self.clicks,
            previous=self.previous,
            unreadable=(),
            unasked=self.unasked,
            warnings=case.warnings + self.warnings,
        )


def prompts_on(given: GivenPrompts, scan: Scan) -> Prompts:
    """The prompts in voxels of a scan.

    Raises CaseError: what cannot be read, or lies outside the scan.
    """
    system = VOXEL if not given.world else "RAS" if scan.format == "nifti" else "LPS"
    files = [path for one in given.files if (path := _of_scan(one, scan, "prompts")) is not None]
    found = drawn_on([*_of_options(given, system), *read_prompt_files(files)], scan)
    mask = None if given.mask is None else _of_scan(given.mask, scan, "mask")
    return found if mask is None else with_mask(found, mask, scan, given.mask_as)


def drawn_on(drawn: Sequence[Drawn], scan: Scan) -> Prompts:
    """The prompts of classes 1, 2, ... in voxels of a scan. Raises CaseError where one lies outside it."""
    notes = Notes()
    boxes = tuple(_box(one, index, scan, notes) for index, one in enumerate(drawn, 1))
    clicks = tuple(_clicks(one, index, scan) for index, one in enumerate(drawn, 1))
    return Prompts(
        boxes if any(boxes) else (),
        clicks if any(one.points for one in clicks) else (),
        names={index: one.name for index, one in enumerate(drawn, 1) if one.name},
        warnings=notes.lines(scan.name),
    )


def to_voxels(points: Sequence[Point], system: str, scan: Scan) -> np.ndarray:
    """Points as voxel indices (z, y, x) with fractions: (n, 3). system: "voxel", "LPS" or "RAS"."""
    found = np.array(points, np.float64).reshape(-1, 3)
    if system == VOXEL:
        return found
    affine = scan.affine if system == "LPS" else flipped(scan.affine)
    places = np.column_stack((found, np.ones(len(found))))
    return np.asarray(np.round((np.linalg.inv(affine) @ places.T).T[:, :3], _DECIMALS))


def _of_options(given: GivenPrompts, system: str) -> list[Drawn]:
    boxes = [_numbers("--box", text, 6) for text in given.boxes]
    classes: dict[int, Drawn] = {
        index: Drawn(system, box_corners(_point(box[:3]), _point(box[3:])))
        for index, box in enumerate(boxes, 1)
    }
    for option, texts in (("--click", given.clicks), ("--background", given.background)):
        for text in texts:
            prefix, colon, rest = text.rpartition(":")
            if colon and not prefix.strip().isdigit():
                raise CaseError(f"{option} is {shown(text)}; give Z,Y,X or CLASS:Z,Y,X")
            if not colon and len(boxes) > 1:
                raise CaseError(
                    f"{option} is {shown(text)}, and there are {len(boxes)} boxes; say which it belongs to: 1:{text}"
                )
            index = int(prefix) if colon else 1
            if not 1 <= index <= MAX_PREVIOUS:
                raise CaseError(f"{option} is {shown(text)}; give a class from 1 to {MAX_PREVIOUS}")
            own = classes.setdefault(index, Drawn(system))
            click = (_point(_numbers(option, rest, 3)), option == "--click")
            classes[index] = replace(own, clicks=(*own.clicks, click))
    if classes and sorted(classes) != list(range(1, len(classes) + 1)):
        missing = min(set(range(1, max(classes) + 1)) - classes.keys())
        raise CaseError(f"class {missing} has no prompt, and class {max(classes)} has; number them 1, 2, ...")
    return [classes[index] for index in sorted(classes)]


def _numbers(option: str, text: str, count: int) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(math.isfinite(number) and abs(number) < 1e9 for number in found):
        what, world = ("Z0,Y0,X0,Z1,Y1,X1", "X0,Y0,Z0,X1,Y1,Z1") if count == 6 else ("Z,Y,X", "X,Y,Z")
        raise CaseError(f"{option} is {shown(text)}; give {count} numbers: {what}, or with --world {world}")
    return found


def _point(values: Sequence[float]) -> Point:
    x, y, z = values
    return x, y, z


def _box(drawn: Drawn, index: int, scan: Scan, notes: Notes) -> Box | None:
    """The box of voxels that the hull of the corners overlaps; in voxels, corners are voxels that are inside.

    notes: is added to where a part of it is outside of the scan.
    """
    if not drawn.corners:
        return None
    corners = to_voxels(drawn.corners, drawn.system, scan)
    low, high = corners.min(0), corners.max(0)
    if drawn.system == VOXEL:
        lower, upper = [math.floor(v) for v in low], [math.ceil(v) + 1 for v in high]
    else:  # voxel i is from i - .5 to i + .5; a corner between two does not take both
        lower = [nearest(v) for v in low]
        upper = [max(math.ceil(v - 0.5), start) + 1 for v, start in zip(high, lower, strict=True)]
    box = Box(_voxel(lower), _voxel(upper), (lower[0] + upper[0] - 1) // 2)
    try:
        inside = box.clipped(scan.voxels.shape)
    except CaseError as error:
        raise CaseError(f"{scan.name}: box of class {index}: {error}") from None
    if (inside.lower, inside.upper) != (box.lower, box.upper):
        notes.append(
            f"box of class {index} is {_as_option(box)} in voxels, and the scan has shape {scan.voxels.shape}; "
            f"it is cut to {_as_option(inside)}"
        )
    return inside


def _as_option(box: Box) -> str:
    """A box as --box has it: both corners inside."""
    return ",".join(map(str, (*box.lower, *(bound - 1 for bound in box.upper))))


def _clicks(drawn: Drawn, index: int, scan: Scan) -> Clicks:
    points = [point for point, _ in drawn.clicks]
    found: list[Voxel] = []
    for point, values in zip(points, to_voxels(points, drawn.system, scan), strict=True):
        voxel = _voxel([nearest(float(value)) for value in values])
        if not all(0 <= place < size for place, size in zip(voxel, scan.voxels.shape, strict=True)):
            raise CaseError(
                f"{scan.name}: click {shown(point)} of class {index} ({drawn.system}) is voxel {voxel}, "
                f"outside the volume of shape {scan.voxels.shape}; give one inside it"
            )
        found.append(voxel)
    return Clicks(tuple(found), tuple(inside for _, inside in drawn.clicks))


def _voxel(values: Sequence[int]) -> Voxel:
    z, y, x = values
    return z, y, x


def with_mask(found: Prompts, mask: Path, scan: Scan, use: MaskAs) -> Prompts:
    """Prompts, and those that a mask makes of its labels; a box that is given goes before that of a label.

    Raises CaseError where the mask has no labels, too many, or another grid.
    """
    labels, names = read_mask(mask, scan)
    numbers = present(labels, int(labels.max(initial=0)))
    if not 0 < len(numbers) <= MAX_PREVIOUS:
        raise CaseError(f"{mask.name}: has {len(numbers):,} labels; give 1 to {MAX_PREVIOUS:,}")
    count = max(numbers[-1], len(found.boxes), len(found.clicks))
    boxes = list(found.boxes) + [None] * (count - len(found.boxes))
    if use == "box":
        for number in numbers:
            boxes[number - 1] = boxes[number - 1] or Box.measured(labels == number)
    clicks = found.clicks + (Clicks(),) * (
        count - len(found.clicks) if found.clicks or use == "previous" else 0
    )
    asked = {*numbers} | {index for index, box in enumerate(boxes, 1) if box is not None}
    asked |= {index for index, own in enumerate(clicks, 1) if own.points}
    return Prompts(
        tuple(boxes) if any(boxes) else (),
        clicks,
        labels if use == "previous" else None,
        frozenset(range(1, count + 1)) - asked,
        {**names, **found.names},
        found.warnings,
    )


def _of_scan(path: Path, scan: Scan, what: str) -> Path | None:
    """The file itself; of a folder, the one that is called as the scan. Raises CaseError where there is none."""
    if not path.is_dir():
        return path
    if what == "prompts":
        found = [one for ending in _JSON if (one := path / f"{scan.name}{ending}").is_file()]
    else:
        files = (one for one in path.iterdir() if one.is_file() and is_scan(one))
        found = [one for one in files if name_of(one).removesuffix(".seg") == scan.name]
    if len(found) != 1:
        raise CaseError(f"{scan.name}: {path} holds {len(found)} files of {what} with this name; give one")
    return found[0]
