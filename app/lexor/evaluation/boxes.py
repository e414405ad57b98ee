"""The box run: a model and the baselines on boxes loosened by the challenge's law."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lexor.case import Box, Case, CaseError, read_case, read_labels
from lexor.evaluation.baselines import BASELINES
from lexor.evaluation.metrics import dice, nsd
from lexor.evaluation.strata import strata_of
from lexor.inference.predictor import Predictor

MODEL = "Lexor"
METHODS = (*BASELINES, MODEL)


@dataclass(frozen=True)
class Row:
    """Scores of one label.

    Attributes:
        source: where the case is from, see `source_of`.
        scores: DSC by method.
        nsd: NSD at 2 mm by method.
        strata: what kind of object it is, see `strata_of`.
    """

    case: str
    modality: str
    source: str
    label: int
    voxels: int
    strata: tuple[str, ...]
    scores: dict[str, float]
    nsd: dict[str, float]


@dataclass(frozen=True)
class CaseScores:
    """Rows of one case and the seconds its prediction took."""

    case: str
    rows: list[Row]
    seconds: float

    def summary(self) -> str:
        """One line: mean DSC of the model and of the best baseline."""
        mean = {m: float(np.mean([row.scores[m] for row in self.rows])) for m in METHODS}
        best = max(BASELINES, key=lambda m: mean[m])
        return (
            f"{self.case}: {len(self.rows)} labels, DSC {mean[MODEL]:.3f} ({best} {mean[best]:.3f}), "
            f"{self.seconds:.1f} s"
        )


def loosen(box: Box, shape: Sequence[int], shift: int) -> Box:
    """The box with y and x moved out by `shift` pixels per 256 of the axis, as the organisers do it."""
    _, height, width = shape
    dy, dx = int(shift * height / 256), int(shift * width / 256)
    lower = (box.lower[0], max(0, box.lower[1] - dy), max(0, box.lower[2] - dx))
    upper = (box.upper[0], min(height, box.upper[1] + dy), min(width, box.upper[2] + dx))
    return Box(lower, upper, box.z_mid)


def source_of(name: str) -> str:
    """Modality and data set of a case, the first two tokens of its name: CT_openkbp of CT_openkbp_pt_201."""
    return "_".join(name.split("_")[:2])


def choose_cases(
    paths: Sequence[Path], sources: Collection[str] = (), limit: int | None = None, seed: int = 7
) -> list[Path]:
    """The cases of some sources, sorted; all sources if none is named.

    Args:
        limit: at most so many cases of each source, drawn by the seed. What is drawn of a source depends on
            nothing else, and a larger limit adds to it.

    Raises:
        CaseError: a source of which there is no case.
    """
    by_source: dict[str, list[Path]] = {}
    for path in sorted(paths):
        by_source.setdefault(source_of(path.stem), []).append(path)
    for source in sources:
        if source not in by_source:
            raise CaseError(f"--sources: {source!r} has no case here; there are {', '.join(by_source)}")
    chosen: list[Path] = []
    for source, found in by_source.items():
        if not sources or source in sources:
            order = np.random.default_rng(seed).permutation(len(found))
            chosen += [found[i] for i in order[:limit]]
    return sorted(chosen)


def loosened_cases(
    paths: Sequence[Path], seed: int = 7, chosen: Collection[Path] | None = None
) -> Iterator[tuple[Path, Case]]:
    """Cases in sorted order with their boxes loosened by 0 to 5 pixels per 256, one draw a box.

    Args:
        chosen: the cases wanted of these, None for all. The draws go over all of them, so that a case's boxes
            do not depend on what else was chosen.

    Raises:
        CaseError: a chosen case without a usable box for every label.
    """
    rng = np.random.default_rng(seed)
    for source in sorted(paths):
        case = read_case(source)
        shifts = [int(rng.integers(0, 6)) for _ in case.boxes]
        if chosen is not None and source not in chosen:
            continue
        if not case.boxes or any(box is None for box in case.boxes):
            raise CaseError(
                f"{source.name}: boxes: every label needs a usable box here; remove the case or mend it"
            )
        boxes = tuple(
            loosen(box, case.volume.shape, shift)
            for box, shift in zip(case.boxes, shifts, strict=True)
            if box is not None
        )
        yield source, replace(case, boxes=boxes)


def evaluate_boxes(
    paths: Sequence[Path], predictor: Predictor, seed: int = 7, chosen: Collection[Path] | None = None
) -> Iterator[CaseScores]:
    """Scores of every label of labelled cases; each case is predicted as the container would.

    Args:
        paths, seed, chosen: see `loosened_cases`.

    Raises:
        CaseError: a case without a usable box for every label, without labels, or without spacing.
        ImportError: the extra `evaluate` is not installed.
    """
    for source, case in loosened_cases(paths, seed, chosen):
        if case.spacing is None:
            raise CaseError(f"{source.name}: spacing: NSD needs the millimetres between voxels; add the key")
        truth = read_labels(source)
        prediction = predictor.segment(case)
        rows = []
        for index, box in enumerate(case.boxes, start=1):
            mask = truth == index
            if box is None or not mask.any():
                continue
            answers = {name: answer(case.volume, box) for name, answer in BASELINES.items()}
            answers[MODEL] = prediction.labels == index
            row = Row(
                case=case.name,
                modality=case.modality or "other",
                source=source_of(case.name),
                label=index,
                voxels=int(mask.sum()),
                strata=strata_of(mask, box, case.spacing),
                scores={name: dice(answer, mask) for name, answer in answers.items()},
                nsd={name: nsd(answer, mask, case.spacing) for name, answer in answers.items()},
            )
            rows.append(row)
        if not rows:
            raise CaseError(f"{source.name}: gts: no label 1..{len(case.boxes)} occurs; nothing to score")
        yield CaseScores(case.name, rows, prediction.seconds)
