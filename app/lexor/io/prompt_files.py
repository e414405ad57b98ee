"""Prompts from files: our JSON, and 3D Slicer's markups (.mrk.json).

Ours:

    {"coordinates": "voxel",                         // z, y, x; or "LPS" or "RAS": millimetres x, y, z
     "classes": [{"name": "liver",                   // optional, as all that follows
                  "box": [4, 10, 10, 20, 90, 80],    // two opposite corners, both inside
                  "clicks": [[12, 50, 40]],          // voxels of the object
                  "background": [[12, 80, 40]]}]}    // and of its surroundings

Slicer's are described by its schema markups-schema-v1.0.3.json. Each ROI is a class. Points belong to the ROI
that is given with them; without one, each list of points is a class. A point whose label or description starts
with "background", "bg" or "-" is outside of the object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from lexor.errors import CaseError, shown
from lexor.io.npz import MAX_VALUES_BYTES
from lexor.io.prompts import MAX_CLASSES
from lexor.io.scans.names import name_of

Point = tuple[float, float, float]
VOXEL: Final = "voxel"
# Slicer of before 2020 writes the number of the system.
_SYSTEMS: Final = {"LPS": "LPS", "RAS": "RAS", "0": "RAS", "1": "LPS"}
_BACKGROUND: Final = ("background", "bg", "-")


@dataclass(frozen=True)
class Drawn:
    """The prompts of one class as they were drawn.

    system: of all points: "voxel" (z, y, x), or "LPS" or "RAS" in millimetres (x, y, z).
    corners: points whose hull's box is meant; () without a box. clicks: points, and whether each is in the object.
    """

    system: str
    corners: tuple[Point, ...] = ()
    clicks: tuple[tuple[Point, bool], ...] = ()
    name: str = ""


@dataclass
class _Marks:
    rois: list[Drawn] = field(default_factory=list)
    lists: list[Drawn] = field(default_factory=list)


def read_prompt_files(paths: Sequence[Path]) -> list[Drawn]:
    """The classes of prompt files, in order. Raises CaseError: what one of them is, and what to do about it."""
    found: list[Drawn] = []
    marks = _Marks()
    for path in paths:
        content = _content(path)
        if "markups" in content:
            _read_markups(path, content, marks)
        else:
            found += _read_classes(path, content)
    return found + _joined(paths, marks)


def box_corners(low: Point, high: Point) -> tuple[Point, ...]:
    """All eight corners of a box along the axes: turned, another box holds them all."""
    return tuple(product(*zip(low, high, strict=True)))  # type: ignore[arg-type]


def point_of(where: str, value: Any) -> Point:
    """Three finite numbers. Raises CaseError where value is anything else."""
    try:
        x, y, z = (float(number) for number in value)
    except (TypeError, ValueError):
        x = y = z = math.nan
    if not all(abs(number) < 1e9 for number in (x, y, z)):
        raise CaseError(f"{where} is {shown(value)}; give three numbers")
    return x, y, z


def is_background(name: str) -> bool:
    """Whether a point's name says that it is beside the object."""
    return name.strip().lower().startswith(_BACKGROUND)


def read_json(path: Path) -> Any:
    """The content of a small JSON file. Raises CaseError where there is none."""
    if not path.is_file():
        raise CaseError(f"{path}: no such file; give a JSON file")
    if (size := path.stat().st_size) > MAX_VALUES_BYTES:
        raise CaseError(f"{path.name}: {size:,} bytes; give at most {MAX_VALUES_BYTES:,}")
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{path.name}: is no JSON ({str(error)[:200]}); write it again") from None


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not ({"classes", "markups"} & content.keys()):
        raise CaseError(f"{path.name}: has neither classes nor markups; give our JSON, or Slicer's .mrk.json")
    return content


def _read_classes(path: Path, content: dict[str, Any]) -> list[Drawn]:
    system, classes = content.get("coordinates", VOXEL), content["classes"]
    if system not in (VOXEL, "LPS", "RAS"):
        raise CaseError(f"{path.name}: coordinates is {shown(system)}; give voxel, LPS or RAS")
    if not isinstance(classes, list) or not 0 < len(classes) <= MAX_CLASSES:
        raise CaseError(f"{path.name}: classes is {shown(classes)}; give a list of one entry for each object")
    found = []
    for index, entry in enumerate(classes):
        key = f"{path.name}: classes[{index}]"
        if not isinstance(entry, dict):
            raise CaseError(f"{key} is {shown(entry)}; give a dict with box, clicks, background")
        if unknown := entry.keys() - {"name", "box", "clicks", "background"}:
            raise CaseError(f"{key} has {shown(sorted(unknown)[0])}; give name, box, clicks, background")
        clicks = [
            (point_of(f"{key}.{kind}[{number}]", point), kind == "clicks")
            for kind in ("clicks", "background")
            for number, point in enumerate(_list(key, kind, entry.get(kind)))
        ]
        corners: tuple[Point, ...] = ()
        if (box := entry.get("box")) is not None:
            if not isinstance(box, list) or len(box) != 6:
                raise CaseError(f"{key}.box is {shown(box)}; give six numbers, two opposite corners")
            corners = box_corners(point_of(f"{key}.box", box[:3]), point_of(f"{key}.box", box[3:]))
        found.append(Drawn(system, corners, tuple(clicks), str(entry.get("name") or "")))
    return found


def _list(key: str, kind: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise CaseError(f"{key}.{kind} is {shown(value)}; give a list of points")
    return value


def _read_markups(path: Path, content: dict[str, Any], marks: _Marks) -> None:
    markups = content["markups"]
    if not isinstance(markups, list):
        raise CaseError(f"{path.name}: markups is {shown(markups)}; give a list")
    name = name_of(path).removesuffix(".json").removesuffix(".mrk")
    for index, markup in enumerate(markups):
        key = f"{path.name}: markups[{index}]"
        if not isinstance(markup, dict):
            raise CaseError(f"{key} is {shown(markup)}; give a markup as Slicer writes it")
        said = markup.get("coordinateSystem")
        system = _SYSTEMS.get(str(said))
        if system is None:
            raise CaseError(f"{key}.coordinateSystem is {shown(said)}; give LPS or RAS")
        unit = markup.get("coordinateUnits", "mm")
        if unit != "mm" and unit != ["mm", "UCUM", "millimeter"]:
            raise CaseError(f"{key}.coordinateUnits is {shown(unit)}; give mm")
        kind = markup.get("type")
        if kind == "ROI":
            marks.rois.append(Drawn(system, _roi_corners(key, markup), name=name))
        elif kind == "Fiducial":
            marks.lists.append(Drawn(system, clicks=_points(key, markup), name=name))
        else:
            raise CaseError(f"{key}.type is {shown(kind)}; give a Fiducial or a ROI")


def _points(key: str, markup: dict[str, Any]) -> tuple[tuple[Point, bool], ...]:
    found = []
    for number, point in enumerate(_list(key, "controlPoints", markup.get("controlPoints"))):
        if not isinstance(point, dict):
            raise CaseError(f"{key}.controlPoints[{number}] is {shown(point)}; give a dict with a position")
        if point.get("positionStatus", "defined") != "defined":
            continue
        inside = not any(is_background(str(point.get(part) or "")) for part in ("label", "description"))
        found.append((point_of(f"{key}.controlPoints[{number}].position", point.get("position")), inside))
    return tuple(found)


def _roi_corners(key: str, markup: dict[str, Any]) -> tuple[Point, ...]:
    centre, size = (np.array(point_of(f"{key}.{part}", markup.get(part))) for part in ("center", "size"))
    turned = markup.get("orientation") or np.eye(3).ravel().tolist()
    if not isinstance(turned, list) or len(turned) != 9:
        raise CaseError(f"{key}.orientation is {shown(turned)}; give nine numbers")
    # Its rows follow one another; its columns are the axes of the ROI.
    axes = np.array([point_of(f"{key}.orientation", turned[start : start + 3]) for start in (0, 3, 6)])
    corners = (centre + axes @ (np.array(signs) * size / 2) for signs in product((-1, 1), repeat=3))
    return tuple((float(x), float(y), float(z)) for x, y, z in corners)


def _joined(paths: Sequence[Path], marks: _Marks) -> list[Drawn]:
    """ROIs with the points that belong to them; without ROIs, each list of points is a class."""
    if not marks.rois:
        return marks.lists
    if not marks.lists:
        return marks.rois
    if len(marks.rois) > 1:
        raise CaseError(
            f"{paths[0].name}: {len(marks.rois)} ROIs and {len(marks.lists)} lists of points, and nothing says which "
            "belong together; give our JSON, or one ROI"
        )
    roi, systems = marks.rois[0], {one.system for one in [*marks.rois, *marks.lists]}
    if len(systems) > 1:
        raise CaseError(f"{paths[0].name}: ROI and points are in LPS and RAS; save both in one")
    clicks = tuple(click for one in marks.lists for click in one.clicks)
    return [Drawn(roi.system, roi.corners, clicks, roi.name)]
