"""From a case to its targets: for each class, what points at it and where that came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from lexor.errors import CaseError, printable, shown
from lexor.geometry import Box, Clicks, Voxel
from lexor.inference.views import Triple, View, triple
from lexor.io.case import Case
from lexor.io.prompts import MAX_CLASSES
from lexor.prompting import auto_prompt

Source = Literal["box", "clicks", "previous", "automatic"]
PromptMode = Literal["given", "intensity", "auto"]


def check_mode(prompt: str) -> None:
    """That there is such a mode.

    Raises:
        ValueError: there is none; the message names all.
    """
    modes = get_args(PromptMode)
    if prompt not in modes:
        raise ValueError(f"prompt is {prompt!r}: give {', '.join(map(repr, modes[:-1]))} or {modes[-1]!r}")


@dataclass(frozen=True)
class AutomaticBox:
    """A box that was found in a case.

    Attributes:
        kind: how: "intensity" is Algorithm 1, all others are kinds of candidates (`lexor.prompting.propose`).
        confidence: the overlap with the truth that the model expects of the mask, 0..1; None: it was not asked.
    """

    box: Box
    kind: str
    confidence: float | None = None

    def summary(self) -> str:
        """In a few words: how it was found, and how sure it is."""
        return self.kind if self.confidence is None else f"{self.kind}, {self.confidence:.0%} sure"


Finder = Callable[[int], list[AutomaticBox]]


@dataclass(frozen=True, eq=False)
class Claims:
    """The foreground clicks of all classes of a case: what one class was clicked on is not in the others.

    Attributes:
        points: (n, 3) voxels.
        classes: (n,) the class of each.
    """

    points: Int[np.ndarray, "n 3"]
    classes: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, clicks: Sequence[Clicks]) -> Claims:
        """Those of the clicks of classes 1, 2, ..."""
        claims = [
            (index, *point)
            for index, own in enumerate(clicks, start=1)
            for point, foreground in zip(own.points, own.foreground, strict=True)
            if foreground
        ]
        found = np.array(claims, dtype=np.int64).reshape(-1, 4)
        return cls(found[:, 1:], found[:, 0])

    def by_others(self, index: int, own: Clicks, view: View) -> list[Voxel]:
        """Voxels whose middle a view shows and that other classes were clicked on, but this one was not."""
        middle = self.points + 0.5
        shown = ((middle >= view.lower) & (middle < view.upper)).all(1) & (self.classes != index)
        mine = set(own.points)
        found = [(z, y, x) for z, y, x in self.points[shown].tolist()]
        return [point for point in found if point not in mine]


@dataclass(frozen=True)
class Target:
    """One class to segment.

    Attributes:
        index: its label in the output, from 1.
        box: the box it was given or that was found for it, None where only clicks or a mask point at it.
        clicks: corrective clicks, oldest first.
        previous: (D, H, W) labels of the last answer, shared by all targets; None where this one is not in it.
        lower, upper: the region to look around, in voxel edges.
        source: what located it.
        found: its automatic box, None where it has none.
        stand_in: whether that box stands in for a prompt of the file that could not be read.
        claims: of all classes of its case; None where it has a box, or no clicks.
    """

    index: int
    box: Box | None
    clicks: Clicks
    previous: np.ndarray | None
    lower: Triple
    upper: Triple
    source: Source
    found: AutomaticBox | None = None
    claims: Claims | None = None
    stand_in: bool = False

    @property
    def exact_z(self) -> bool:
        """Whether the box's z range holds the whole object, as the challenge's boxes do by construction."""
        return self.box is not None and self.source == "box"

    @property
    def corrections(self) -> list[Voxel]:
        """Where the last answer is not as the clicks say; of clicks on one voxel the latest counts."""
        if self.previous is None:
            return []
        wanted = dict(zip(self.clicks.points, self.clicks.foreground, strict=True))
        return [point for point, inside in wanted.items() if (self.previous[point] == self.index) != inside]


def _union(regions: list[tuple[Triple, Triple]]) -> tuple[Triple, Triple]:
    lower = np.min([r[0] for r in regions], axis=0)
    upper = np.max([r[1] for r in regions], axis=0)
    return (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])


def click_voxels(clicks: Clicks) -> list[tuple[Triple, Triple]]:
    """The voxel of each click as a region."""
    return [((z, y, x), (z + 1.0, y + 1.0, x + 1.0)) for z, y, x in clicks.points]


def box_target(index: int, found: AutomaticBox) -> Target:
    """The target that an automatic box makes."""
    box = found.box
    lower, upper = triple(box.lower), triple(box.upper)
    return Target(index, box, Clicks((), ()), None, lower, upper, "automatic", found)


def _ranked(boxes: list[AutomaticBox], stand_in: bool = False) -> list[Target]:
    """Targets 1, 2, ... of automatic boxes, best first."""
    return [replace(box_target(i, found), stand_in=stand_in) for i, found in enumerate(boxes, start=1)]


def _no_prompt(case: Case, index: int, unreadable: bool) -> str:
    why = "the prompt in the file cannot be read" if unreadable else "it has no prompt"
    return printable(f"{case.name}: class {index}: {why}; an automatic box stands in for it")


def _few(classes: Sequence[int]) -> str:
    return ", ".join(map(str, classes[:10])) + ", ..." * (len(classes) > 10)


def _refuse_stand_ins(case: Case, unreadable: Sequence[int], strict: bool) -> None:
    if unreadable and strict:
        raise CaseError(
            f"{case.name}: class {_few(unreadable)} has a "
            "prompt that cannot be read, and no other; put right what the warnings name, or let an automatic box "
            "stand in"
        )


def _intensity(case: Case, count: int, device: str) -> list[AutomaticBox]:
    return [AutomaticBox(box, "intensity") for box in auto_prompt(case.volume, top=count, device=device)]


def _extents(previous: np.ndarray | None, n_classes: int) -> list[tuple[slice, slice, slice] | None]:
    """Where each class was in the last answer, in one pass over it."""
    if previous is None or n_classes == 0:
        return [None] * n_classes
    from scipy import ndimage

    found: list[tuple[slice, slice, slice] | None] = ndimage.find_objects(previous, n_classes)
    return found


def _check_inside(case: Case) -> None:
    """Raises CaseError where a click or a whole box is outside the volume, and says which."""
    shape = case.volume.shape
    for index, clicks in enumerate(case.clicks):
        for point in clicks.points:
            if not all(0 <= place < size for place, size in zip(point, shape, strict=True)):
                raise CaseError(
                    f"{case.name}: clicks[{index}] has a click at {shown(point)}, outside the volume of shape "
                    f"{shape}; give (z, y, x) inside it"
                )
    for index, box in enumerate(case.boxes):
        if box is not None:
            try:
                box.clipped(shape)
            except CaseError as error:
                raise CaseError(f"{case.name}: boxes[{index}]: {error}") from None


def given_target(case: Case, index: int, seen: tuple[slice, slice, slice] | None) -> Target | None:
    """The target of one class, by its own prompts; None where it has none.

    Args:
        case: its case.
        index: the class.
        seen: the smallest box that holds it in the case's last answer; None: it is not in that.

    Raises:
        CaseError: a box or click is outside the volume.
    """
    _check_inside(case)
    return _given(case, index, seen, Claims.of(case.clicks))


def _given(case: Case, index: int, seen: tuple[slice, slice, slice] | None, claims: Claims) -> Target | None:
    """The target of a class; `seen` is where it was in the last answer."""
    box = case.boxes[index - 1] if index <= len(case.boxes) else None
    clicks = case.clicks[index - 1] if index <= len(case.clicks) else Clicks((), ())
    regions = [] if box is None else [(triple(box.lower), triple(box.upper))]
    if seen is not None:
        regions.append((triple([s.start for s in seen]), triple([s.stop for s in seen])))
    regions += click_voxels(clicks)
    if not regions:
        return None
    source: Source = "box" if box is not None else "previous" if seen is not None else "clicks"
    lower, upper = _union(regions)
    previous = case.previous if seen is not None else None
    # Clicks on others do not change who has a box, or nothing but an answer; what is searched for by its clicks
    # takes every hint of its size.
    known = claims if box is None and clicks.points else None
    return Target(index, box, clicks, previous, lower, upper, source, claims=known)


def resolve_targets(
    case: Case,
    prompt: PromptMode = "given",
    device: str = "cpu",
    top: int = 1,
    find: Finder | None = None,
    strict: bool = False,
) -> tuple[list[Target], list[str]]:
    """The targets of a case, and a warning for each class that an automatic box stands in for.

    Args:
        case: the case; its `boxes`, `clicks` and `previous` are read only in mode "given".
        prompt: "given" uses the case's prompts where there are any, and automatic boxes where there are none;
            "intensity" uses the boxes of Algorithm 1 alone; "auto" what `find` finds.
        device: where Algorithm 1 is computed.
        top: how many targets automatic prompting makes where the case does not say.
        find: gives at most so many automatic boxes, best first; None: Algorithm 1 does.
        strict: whether an automatic box must not stand in for a prompt that could not be read.

    Raises:
        ValueError: there is no such mode, or no such number of targets.
        CaseError: a box or click is outside the volume; or strict, and a prompt could not be read that nothing
            else of the file makes up for.
    """
    check_mode(prompt)
    if not isinstance(top, Integral) or top < 1:
        raise ValueError(f"top is {top!r}: give a whole number from 1 on")
    top = min(int(top), MAX_CLASSES)

    def automatic(count: int) -> list[AutomaticBox]:
        if find is None or prompt == "intensity":
            return _intensity(case, count, device)
        return find(count)

    if prompt != "given":
        return _ranked(automatic(top)), []
    _check_inside(case)
    n_classes = case.n_classes
    extents = _extents(case.previous, n_classes)
    claims = Claims.of(case.clicks)
    targets: list[Target] = []
    missing: list[int] = []
    for index in range(1, n_classes + 1):
        target = _given(case, index, extents[index - 1], claims)
        if target is not None:
            targets.append(target)
        elif (case.boxes or case.clicks) and index not in case.unasked:  # else it is a gap in the numbers
            missing.append(index)
    if not targets and not missing:
        _refuse_stand_ins(case, case.unreadable, strict)
        ranked = _ranked(automatic(top), bool(case.unreadable))
        return ranked, [_no_prompt(case, index, True) for index in case.unreadable]
    warnings = []
    if missing:
        lost = set(missing).intersection(case.unreadable)
        _refuse_stand_ins(case, sorted(lost), strict)
        boxes = automatic(len(missing))
        # Fewer boxes than classes: the best one serves again, and the merge sorts it out.
        boxes += [boxes[0]] * (len(missing) - len(boxes))
        for index, found in zip(missing, boxes, strict=True):
            stand_in = index in lost
            targets.append(replace(box_target(index, found), stand_in=stand_in))
            warnings.append(_no_prompt(case, index, stand_in))
        targets.sort(key=lambda target: target.index)
    return targets, warnings
