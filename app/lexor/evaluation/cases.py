"""The cases of an evaluation: which, with what boxes, and with what truth."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from lexor.errors import CaseError
from lexor.io.case import Case, read_case, read_labels
from lexor.io.pairs import Pair, Source, open_labelled
from lexor.io.prompts import MAX_CLASSES
from lexor.protocol.boxes import loosen
from lexor.protocol.clicks import labels_in
from lexor.protocol.sources import source_of


def choose_cases(
    paths: Sequence[Source], sources: Collection[str] = (), limit: int | None = None, seed: int = 7
) -> list[Source]:
    """The cases of some sources, sorted; all sources if none is named.

    Args:
        limit: at most so many cases of each source, drawn by the seed. What is drawn of a source depends on
            nothing else, and a larger limit adds to it.

    Raises:
        CaseError: a source of which there is no case.
    """
    by_source: dict[str, list[Source]] = {}
    for path in in_order(paths):
        by_source.setdefault(source_of(path.stem), []).append(path)
    for source in sources:
        if source not in by_source:
            raise CaseError(f"--sources: {source!r} has no case here; there are {', '.join(by_source)}")
    chosen: list[Source] = []
    for source, found in by_source.items():
        if not sources or source in sources:
            order = np.random.default_rng(seed).permutation(len(found))
            chosen += [found[i] for i in order[:limit]]
    return in_order(chosen)


def loosened_cases(
    paths: Sequence[Source], seed: int = 7, chosen: Collection[Source] | None = None
) -> Iterator[tuple[Source, Case | CaseError]]:
    """Cases in sorted order with their boxes loosened by 0 to 5 pixels per 256, one draw a box.

    Args:
        chosen: the cases wanted of these, None for all. The draws go over all of them, so that a case's boxes
            do not depend on what else was chosen.

    Yields:
        Each chosen path with its case, or with what is wrong with it: then it had no draw.
    """
    rng = np.random.default_rng(seed)
    for source in in_order(paths):
        wanted = chosen is None or source in chosen
        try:
            case = _read(source)
        except CaseError as problem:
            if wanted:
                yield source, problem
            continue
        shifts = [int(rng.integers(0, 6)) for _ in case.boxes]
        if wanted:
            boxes = tuple(
                None if box is None else loosen(box, case.volume.shape, shift)
                for box, shift in zip(case.boxes, shifts, strict=True)
            )
            yield source, replace(case, boxes=boxes)


def given_cases(paths: Collection[Source]) -> Iterator[tuple[Source, Case | CaseError]]:
    """As `loosened_cases` does, with the boxes that the files hold."""
    for source in in_order(paths):
        try:
            yield source, _read(source)
        except CaseError as problem:
            yield source, problem


def spacing_of(case: Case) -> tuple[float, float, float]:
    """The case's spacing, in the file's order.

    Raises:
        CaseError: it has none.
    """
    if case.spacing is None:
        raise CaseError(f"{case.name}.npz: spacing: NSD needs the millimetres between voxels; add the key")
    return case.spacing


def in_order(sources: Collection[Source]) -> list[Source]:
    """Labelled cases by name; files of a folder as their paths sort."""
    return sorted(sources, key=lambda source: str(source) if isinstance(source, Path) else source.stem)


def _read(source: Source) -> Case:
    return read_case(source) if isinstance(source, Path) else open_labelled(source)[0]


def truth_of(case: Case, source: Source, folder: Path | None = None) -> Integer[np.ndarray, "D H W"]:
    """The true classes of a case, see `classes_of`: from its own file's `gts`, the file of that name in a folder, or
    the labels of a pair.

    Raises:
        CaseError: there are none, they are all background, there are more than there can be classes, or they are no
            labels of this volume.
    """
    if isinstance(source, Pair):
        return classes_of(open_labelled(source)[1], len(case.boxes))
    path = source if folder is None else folder / source.name
    truth = read_labels(path)
    if truth.shape != case.volume.shape:
        raise CaseError(
            f"{path.name}: gts has shape {truth.shape}, imgs {case.volume.shape}; give the truth of this case"
        )
    if not truth.any() or truth.min() < 0:
        raise CaseError(f"{path.name}: gts has no label 1, 2, ...; nothing to score")
    if (count := np.count_nonzero(np.unique(truth))) > MAX_CLASSES:
        raise CaseError(f"{path.name}: gts has {count:,} labels; give at most {MAX_CLASSES:,}, one an object")
    return classes_of(truth, len(case.boxes))


def classes_of(truth: Integer[np.ndarray, "D H W"], n_boxes: int) -> Integer[np.ndarray, "D H W"]:
    """The truth with its i-th smallest label as class i, unless every label is the number of a box.

    Prompts tell of a class by its place alone. The organisers' script sends the clicks on the i-th smallest label as
    class i too, but compares the answer with that label's own number, which no container is told: with a gap it
    scores 0. Their files have none.

    Args:
        n_boxes: labels up to it mean the box of that number, also where the object of another one is absent.
    """
    labels = labels_in(truth)
    if labels[-1] <= max(n_boxes, len(labels)):
        return truth
    ranks = np.searchsorted(np.array(labels, truth.dtype), truth, side="right")
    return ranks.astype(np.min_scalar_type(len(labels)))
