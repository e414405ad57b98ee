"""The kinds of case that `lexor bench predict` takes the time of, made of phantoms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lexor.bench.phantoms import ORGANS, body, organ_boxes
from lexor.geometry import Box, Clicks, Shape
from lexor.io.case import Case, write_case

# Some organs make no box (`organ_boxes`): so many are painted for each that is asked for.
SPARE = 4


@dataclass(frozen=True)
class Sizes:
    """How large the cases are.

    Attributes:
        size: of a usual case, (D, H, W).
        large: of a large one.
        classes: of the case with several.
        objects: of the case with very many.
        count: of the cases in a folder.
    """

    size: Shape = (96, 256, 256)
    large: Shape = (600, 512, 512)
    classes: int = 15
    objects: int = 300
    count: int = 20


@dataclass(frozen=True)
class Kind:
    """A kind of case.

    Attributes:
        name: what the command calls it.
        about: in a few words.
        baseline: the kind that its time is given as a multiple of; None for those that only serve as one.
        make: its cases.
        at_once: whether the cases are answered as a folder, by `predict_files`; else one step after the other.
    """

    name: str
    about: str
    baseline: str | None
    make: Callable[[Sizes], Sequence[Case]]
    at_once: bool = False


def boxed(shape: Shape, count: int, seed: int = 0) -> Case:
    """A body with so many of its organs in boxes."""
    organs = max(ORGANS, SPARE * count)
    boxes = organ_boxes(shape, seed, organs)[:count]
    if len(boxes) < count:
        raise ValueError(
            f"a volume of shape {shape} has room for {len(boxes)} boxes, not {count}: ask for a larger one"
        )
    return Case("CT_bench", body(shape, seed, organs), (1.0, 1.0, 1.0), tuple(boxes))


def _large(sizes: Sizes) -> Case:
    return boxed(sizes.large, 1)


def _crop(sizes: Sizes) -> Case:
    """The large case's box, in as much of the volume around it as a usual case has."""
    case = _large(sizes)
    (box,) = case.boxes
    assert box is not None
    where = []
    for low, high, length, wanted in zip(box.lower, box.upper, sizes.large, sizes.size, strict=True):
        half = max(wanted, high - low) // 2
        start = min(max((low + high) // 2 - half, 0), max(length - 2 * half, 0))
        where.append(slice(start, min(start + 2 * half, length)))
    lower, upper = (
        tuple(edge - s.start for edge, s in zip(edges, where, strict=True))
        for edges in (box.lower, box.upper)
    )
    moved = Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), box.z_mid - where[0].start)
    return Case("CT_bench", np.ascontiguousarray(case.volume[tuple(where)]), case.spacing, (moved,))


def _clicked(sizes: Sizes) -> Case:
    """A click in the middle of an organ, and no box."""
    case = boxed(sizes.size, 1)
    (box,) = case.boxes
    assert box is not None
    z, y, x = (int(place) for place in box.centre)
    return Case(case.name, case.volume, case.spacing, (), (Clicks(((z, y, x),), (True,)),))


def _unprompted(sizes: Sizes) -> Case:
    return Case("CT_bench", body(sizes.size), (1.0, 1.0, 1.0))


def _several(sizes: Sizes) -> list[Case]:
    return [boxed(sizes.size, 1, seed) for seed in range(sizes.count)]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("one", "one box", None, lambda sizes: [boxed(sizes.size, 1)]),
        Kind("classes", "several boxes", "one", lambda sizes: [boxed(sizes.size, sizes.classes)]),
        Kind("objects", "very many boxes", "one", lambda sizes: [boxed(sizes.size, sizes.objects)]),
        Kind("clicks", "one click, no box", "one", lambda sizes: [_clicked(sizes)]),
        Kind("none", "no prompt", "one", lambda sizes: [_unprompted(sizes)]),
        Kind("crop", "the large case's box, in a crop", None, lambda sizes: [_crop(sizes)]),
        Kind("large", "one box in a large volume", "crop", lambda sizes: [_large(sizes)]),
        Kind("sequence", "one case after the other", None, _several),
        Kind("folder", "the same cases, as a folder", "sequence", _several, at_once=True),
    )
}


def chosen(names: Sequence[str]) -> list[Kind]:
    """The kinds of these names, or all, and before each the baseline that it needs.

    Raises:
        ValueError: there is no such kind.
    """
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise ValueError(f"no kind {unknown[0]!r}; known are {', '.join(KINDS)}")
    wanted: dict[str, Kind] = {}
    for name in names or KINDS:
        kind = KINDS[name]
        if kind.baseline is not None:
            wanted[kind.baseline] = KINDS[kind.baseline]
        wanted[name] = kind
    return list(wanted.values())


def write_cases(kind: Kind, sizes: Sizes, folder: Path) -> list[Path]:
    """Writes the cases of a kind into a folder, which is made; their paths."""
    folder.mkdir(parents=True)
    paths = []
    for number, case in enumerate(kind.make(sizes), start=1):
        paths.append(folder / f"CT_{kind.name}{number}.npz")
        write_case(paths[-1], case)
    return paths
