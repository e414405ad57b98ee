"""Reading of a case's prompts: whatever is unusable is left out, with a note that says so.

A note is one line without the file's name: key, value found, remedy. The readers also say which classes have
a prompt that could not be read, so that nothing else passes for an answer to it; `ALL` stands for a key that
could not be read as a whole.
"""

from __future__ import annotations

from typing import Any, Final

from lexor.errors import CaseError, Notes, shown
from lexor.geometry import Box, Clicks, Voxel, box_remarks, is_whole, voxel_index

ALL: Final = 0
MAX_CLASSES: Final = 65535  # labels are at most uint16
_MAX_CLICKS: Final = 100_000  # a list that many classes share would keep us busy for hours
_KINDS: Final = ("fg", "bg")
# How six numbers are written elsewhere: where each order has z_min, z_max, y_min, y_max, x_min, x_max.
_ORDERS: Final = (
    (0, 3, 1, 4, 2, 5),  # z_min y_min x_min z_max y_max x_max: corners in the order of the array's axes
    (2, 5, 1, 4, 0, 3),  # x_min y_min z_min x_max y_max z_max: the challenge of 2024
    (0, 1, 2, 3, 4, 5),  # z_min z_max y_min y_max x_min x_max
    (4, 5, 2, 3, 0, 1),  # x_min x_max y_min y_max z_min z_max
)
_REMEDY: Final = "give one dict per class (z_min, z_max, z_mid, z_mid_x_min, ...)"
_BOUNDS: Final = ("z_min", "z_max", "z_mid_y_min", "z_mid_y_max", "z_mid_x_min", "z_mid_x_max")


def read_boxes(
    values: Any, shape: tuple[int, ...], notes: Notes
) -> tuple[tuple[Box | None, ...], frozenset[int]]:
    """Boxes of each class, None where a class has no usable one, () where values are not a list of boxes.

    values: the `boxes` key as plain Python values: one dict a class, or six numbers a class where only one
    of the usual orders of them (`_ORDERS`) makes boxes of this volume. shape: of the volume (D, H, W).
    notes: is added to. Also returns the classes whose box could not be read.
    """
    entries = _entries(values, "boxes", notes)
    if entries is None:
        return (), frozenset({ALL})
    rows = [entries] if _is_row(entries) else entries
    if rows and all(_is_row(row) for row in rows):
        return _six_numbers(rows, shape, notes)
    if entries and not any(isinstance(entry, dict | list | tuple | None) for entry in entries):
        notes.append(f"boxes is a list of {shown(entries[0])}, not of dicts; {_REMEDY}")
        return (), frozenset({ALL})
    boxes: list[Box | None] = []
    unreadable = set()
    for index, entry in enumerate(entries):
        key = f"boxes[{index}]"
        boxes.append(None)
        if entry is None:
            notes.append(f"{key} is None, not a dict; give one dict per class")
            continue
        try:
            if not isinstance(entry, dict):
                raise CaseError(f" is {shown(entry)}, not a dict; {_REMEDY}")
            boxes[-1] = Box.from_dict(entry, shape)
            for remark in box_remarks(entry):
                notes.append(f"{key}.{remark}")
        except CaseError as error:
            notes.append(f"{key}{'.' * isinstance(entry, dict)}{error}")
            unreadable.add(index + 1)
    return tuple(boxes), frozenset(unreadable)


def read_clicks(
    values: Any, order: Any, shape: tuple[int, ...], notes: Notes
) -> tuple[tuple[Clicks, ...], frozenset[int]]:
    """Clicks of each class in chronological order, () where values are not a list of clicks.

    values: the `clicks` key as plain Python values: one dict a class, of lists of [z, y, x] or one [z, y, x].
    order: `clicks_order` likewise, None without it; then, and where it does not fit the clicks, a class has
    its foreground clicks first. shape: of the volume (D, H, W). notes: is added to.
    Also returns the classes that have no other clicks than such as could not be read.
    """
    entries = _entries(values, "clicks", notes)
    if entries is None:
        return (), frozenset({ALL})
    if entries and not any(isinstance(entry, dict | None) for entry in entries):
        notes.append(
            f"clicks is a list of {shown(entries[0])}; give one dict per class: {{'fg': [[z, y, x]]}}"
        )
        return (), frozenset({ALL})
    dicts = [entry for entry in entries if isinstance(entry, dict)]
    if (count := _total(entry.get(kind) for entry in dicts for kind in _KINDS)) > _MAX_CLICKS:
        notes.append(f"clicks has {count:,} clicks; give at most {_MAX_CLICKS:,}")
        return (), frozenset({ALL})
    rounds = _rounds(order, isinstance(values, dict), len(entries), notes)
    clicks = []
    unreadable = set()
    for index, entry in enumerate(entries):
        found, lost = _class_clicks(index, entry, rounds[index], shape, notes)
        clicks.append(found)
        if lost and not found.points:
            unreadable.add(index + 1)
    return tuple(clicks), frozenset(unreadable)


def _entries(values: Any, key: str, notes: Notes) -> list[Any] | None:
    """What the key has for each class; None where it is no list."""
    if isinstance(values, dict):  # a single class, saved without its list
        return [values]
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        notes.append(f"{key} is {shown(values)}, not a list; give one dict per class")
        return None
    entries = _flat(values, dict)
    if len(entries) > MAX_CLASSES:
        notes.append(f"{key} has {len(entries):,} entries; give at most {MAX_CLASSES:,} classes")
        return None
    return entries


def _flat(values: Any, kind: type | tuple[type, ...]) -> list[Any]:
    """The entries, which an object array of shape (N, 1) or (1, N) has in lists of their own."""
    inner = values and all(isinstance(value, list | tuple) for value in values)
    if inner and (len(values) == 1 or all(len(value) == 1 for value in values)):
        items = [item for value in values for item in value]
        if all(item is None or isinstance(item, kind) for item in items) and items.count(None) < len(items):
            return items
    return list(values)


def _total(lists: Any) -> int:
    return sum(len(values) for values in lists if isinstance(values, list | tuple))


def _is_row(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == len(_BOUNDS)
        and all(isinstance(bound, int | float | str) for bound in value)
    )


def _six_numbers(
    rows: list[Any], shape: tuple[int, ...], notes: Notes
) -> tuple[tuple[Box | None, ...], frozenset[int]]:
    """Boxes of rows of six numbers, if all orders in which all of them are boxes inside the volume agree."""
    readings = set()
    for order in _ORDERS:
        dicts = [{key: row[place] for key, place in zip(_BOUNDS, order, strict=True)} for row in rows]
        try:
            boxes = tuple(Box.from_dict(entry, shape) for entry in dicts)
            inside = all(
                voxel_index(entry[key]) in range(size)
                for entry in dicts
                for key, size in zip(_BOUNDS, (s for s in shape for _ in range(2)), strict=True)
            )
        except CaseError:
            continue
        if inside:
            readings.add(boxes)
    if len(readings) == 1:
        notes.append(
            f"boxes[0] is {shown(rows[0])}; the one order in which such rows are boxes of this volume is taken, "
            "and the middle slice as z_mid, give one dict per class"
        )
        return readings.pop(), frozenset()
    notes.append(
        f"boxes[0] is {shown(rows[0])}, and {'several orders' if readings else 'no usual order'} of six numbers "
        f"{'make' if readings else 'makes'} boxes of this volume; {_REMEDY}"
    )
    return (None,) * len(rows), frozenset(range(1, len(rows) + 1))


def _rounds(order: Any, single: bool, n_classes: int, notes: Notes) -> list[Any]:
    """What `clicks_order` has for each class, None where it has nothing that can be used."""
    if order is None:
        return [None] * n_classes
    if not isinstance(order, list | tuple):
        notes.append(f"clicks_order is {shown(order)}; give one list of 'fg', 'bg' or None per class")
        return [None] * n_classes
    if single and order and not any(isinstance(kinds, list | tuple) for kinds in order):
        order = [order]  # a single class, saved without its list
    rounds = _flat(order, (list, tuple))[:n_classes]
    # Classes can share one list, and each is looked at from end to end.
    if (count := _total(rounds)) > 2 * _MAX_CLICKS:
        notes.append(f"clicks_order has {count:,} entries; give one per click, it is ignored")
        return [None] * n_classes
    return rounds + [[]] * (n_classes - len(rounds))


def _class_clicks(
    index: int, entry: Any, rounds: Any, shape: tuple[int, ...], notes: Notes
) -> tuple[Clicks, bool]:
    """Clicks of one class, and whether any could not be read."""
    key = f"clicks[{index}]"
    if not isinstance(entry, dict):
        notes.append(f"{key} is {shown(entry)}, not a dict; give {{'fg': [[z, y, x]], 'bg': []}}")
        return Clicks(), entry is not None
    if entry and not any(kind in entry for kind in _KINDS):
        notes.append(f"{key} is {shown(entry)}, with neither fg nor bg; give {{'fg': [[z, y, x]], 'bg': []}}")
        return Clicks(), True
    # None stands for a click that is there, for clicks_order to count, but cannot be used.
    pending = {kind: _points(entry.get(kind), f"{key}.{kind}", shape, notes) for kind in _KINDS}
    lost = any(points is None or None in points for points in pending.values())
    queues = {kind: points or [] for kind, points in pending.items()}
    order = [kind for kind in _KINDS for _ in queues[kind]]
    if rounds is not None:
        rounds = rounds if isinstance(rounds, list | tuple) else [rounds]
        kinds = [kind for kind in rounds if kind is not None]
        if len(kinds) == len(order) and all(kinds.count(kind) == len(queues[kind]) for kind in queues):
            order = kinds
        else:
            notes.append(
                f"clicks_order[{index}] is {shown(rounds)}, but there are {len(queues['fg'])} fg and "
                f"{len(queues['bg'])} bg clicks; fg are taken first, give one entry per click"
            )
    coming = {kind: iter(points) for kind, points in queues.items()}
    clicks = [(point, kind == "fg") for kind in order if (point := next(coming[kind])) is not None]
    return Clicks(tuple(point for point, _ in clicks), tuple(foreground for _, foreground in clicks)), lost


def _points(values: Any, key: str, shape: tuple[int, ...], notes: Notes) -> list[Voxel | None] | None:
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        notes.append(f"{key} is {shown(values)}, not a list; give a list of [z, y, x]")
        return None
    if len(values) == 3 and all(isinstance(value, int | float) for value in values):
        values = [values]  # a single click, saved without its list
    return [_point(value, f"{key}[{index}]", shape, notes) for index, value in enumerate(values)]


def _point(value: Any, key: str, shape: tuple[int, ...], notes: Notes) -> Voxel | None:
    if not isinstance(value, list | tuple) or len(value) != 3:
        notes.append(f"{key} is {shown(value)}; give [z, y, x], this click is ignored")
        return None
    try:
        z, y, x = (voxel_index(coordinate) for coordinate in value)
    except CaseError as error:
        notes.append(f"{key} {error}, this click is ignored")
        return None
    if not all(0 <= coordinate < size for coordinate, size in zip((z, y, x), shape, strict=True)):
        notes.append(
            f"{key} is {shown((z, y, x))}, outside the volume of shape {shape}; "
            "give [z, y, x] inside it, this click is ignored"
        )
        return None
    if not all(is_whole(coordinate) for coordinate in value):
        notes.append(f"{key} is {shown(value)}; its nearest voxel is taken, give voxel indices")
    return z, y, x
