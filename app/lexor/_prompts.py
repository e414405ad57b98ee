"""Reading of a case's prompts: whatever is unusable is left out, with a note that says so.

A note is one line without the file's name: key, value found, remedy.
"""

from __future__ import annotations

from typing import Any, Final

from lexor._errors import CaseError, Notes, shown
from lexor._geometry import Box, Clicks, Voxel, box_remarks, whole_number

MAX_CLASSES: Final = 65535  # labels are at most uint16
_MAX_CLICKS: Final = 100_000  # a list that many classes share would keep us busy for hours


def read_boxes(values: Any, shape: tuple[int, ...], notes: Notes) -> tuple[Box | None, ...]:
    """Boxes of each class, None where a class has no usable one, () where values are not a list of boxes.

    values: the `boxes` key as plain Python values. shape: of the volume (D, H, W). notes: is added to.
    """
    entries = _entries(values, "boxes", notes)
    if entries and not any(isinstance(entry, dict) for entry in entries):
        if all(entry is None for entry in entries):
            found = "has no box in it"
        else:
            found = f"is a list of {shown(entries[0])}, not of dicts"
        notes.append(f"boxes {found}; give one dict per class (z_min, z_max, z_mid, z_mid_x_min, ...)")
        return (None,) * len(entries) if all(isinstance(e, list | None) for e in entries) else ()
    boxes: list[Box | None] = []
    for index, entry in enumerate(entries):
        key = f"boxes[{index}]"
        if not isinstance(entry, dict):
            notes.append(f"{key} is {shown(entry)}, not a dict; give one dict per class")
            boxes.append(None)
            continue
        try:
            boxes.append(Box.from_dict(entry, shape))
            for remark in box_remarks(entry):
                notes.append(f"{key}.{remark}")
        except CaseError as error:
            notes.append(f"{key}.{error}")
            boxes.append(None)
    return tuple(boxes)


def read_clicks(values: Any, order: Any, shape: tuple[int, ...], notes: Notes) -> tuple[Clicks, ...]:
    """Clicks of each class in chronological order, () where values are not a list of clicks.

    values: the `clicks` key as plain Python values. order: `clicks_order` likewise, None without it; then,
    and where it does not fit the clicks, a class has its foreground clicks first. shape: of the volume
    (D, H, W). notes: is added to.
    """
    entries = _entries(values, "clicks", notes)
    if entries and not any(isinstance(entry, dict) for entry in entries):
        notes.append(
            f"clicks is a list of {shown(entries[0])}; give one dict per class: {{'fg': [[z, y, x]]}}"
        )
        return ()
    dicts = [entry for entry in entries if isinstance(entry, dict)]
    lists = [values for entry in dicts for values in entry.values() if isinstance(values, list | tuple)]
    if (count := sum(map(len, lists))) > _MAX_CLICKS:
        notes.append(f"clicks has {count:,} clicks; give at most {_MAX_CLICKS:,}")
        return ()
    if order is not None and not isinstance(order, list):
        notes.append(f"clicks_order is {shown(order)}; give one list of 'fg', 'bg' or None per class")
        order = None
    if isinstance(values, dict) and order and not any(isinstance(kinds, list | tuple) for kinds in order):
        order = [order]  # a single class, saved without its list
    rounds = [None] * len(entries) if order is None else order + [[]] * (len(entries) - len(order))
    return tuple(
        _class_clicks(index, entry, rounds[index], shape, notes) for index, entry in enumerate(entries)
    )


def _entries(values: Any, key: str, notes: Notes) -> list[Any]:
    if isinstance(values, dict):  # a single class, saved without its list
        return [values]
    if not isinstance(values, list | tuple):
        notes.append(f"{key} is {shown(values)}, not a list; give one dict per class")
        return []
    if len(values) > MAX_CLASSES:
        notes.append(f"{key} has {len(values):,} entries; give at most {MAX_CLASSES:,} classes")
        return []
    return list(values)


def _class_clicks(index: int, entry: Any, rounds: Any, shape: tuple[int, ...], notes: Notes) -> Clicks:
    if not isinstance(entry, dict):
        notes.append(f"clicks[{index}] is {shown(entry)}, not a dict; give {{'fg': [[z, y, x]], 'bg': []}}")
        return Clicks()
    # None stands for a click that is there, for clicks_order to count, but cannot be used.
    pending = {
        kind: _points(entry.get(kind), f"clicks[{index}].{kind}", shape, notes) for kind in ("fg", "bg")
    }
    order = ["fg"] * len(pending["fg"]) + ["bg"] * len(pending["bg"])
    if rounds is not None:
        rounds = rounds if isinstance(rounds, list | tuple) else [rounds]
        kinds = [kind for kind in rounds if kind is not None]
        if len(kinds) == len(order) and all(kinds.count(kind) == len(pending[kind]) for kind in pending):
            order = kinds
        else:
            notes.append(
                f"clicks_order[{index}] is {shown(rounds)}, but there are {len(pending['fg'])} fg and "
                f"{len(pending['bg'])} bg clicks; fg are taken first, give one entry per click"
            )
    queues = {kind: iter(points) for kind, points in pending.items()}
    clicks = [(point, kind == "fg") for kind in order if (point := next(queues[kind])) is not None]
    return Clicks(tuple(point for point, _ in clicks), tuple(foreground for _, foreground in clicks))


def _points(values: Any, key: str, shape: tuple[int, ...], notes: Notes) -> list[Voxel | None]:
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        notes.append(f"{key} is {shown(values)}, not a list; give a list of [z, y, x]")
        return []
    return [_point(value, f"{key}[{index}]", shape, notes) for index, value in enumerate(values)]


def _point(value: Any, key: str, shape: tuple[int, ...], notes: Notes) -> Voxel | None:
    if not isinstance(value, list | tuple) or len(value) != 3:
        notes.append(f"{key} is {shown(value)}; give [z, y, x], this click is ignored")
        return None
    try:
        z, y, x = (whole_number(coordinate) for coordinate in value)
    except CaseError as error:
        notes.append(f"{key} {error}, this click is ignored")
        return None
    if not all(0 <= coordinate < size for coordinate, size in zip((z, y, x), shape, strict=True)):
        notes.append(
            f"{key} is {shown((z, y, x))}, outside the volume of shape {shape}; "
            "give [z, y, x] inside it, this click is ignored"
        )
        return None
    return z, y, x
