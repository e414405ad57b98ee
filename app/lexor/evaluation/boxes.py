"""The box run: a model and the baselines on boxes loosened by the challenge's law."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lexor.case import Box, Case, CaseError, read_case, read_labels
from lexor.evaluation.baselines import BASELINES
from lexor.evaluation.metrics import dice
from lexor.inference.predictor import Predictor

MODEL = "Lexor"
METHODS = (*BASELINES, MODEL)


@dataclass(frozen=True)
class Row:
    """Scores of one label: DSC by method, and its size in voxels."""

    case: str
    modality: str
    label: int
    voxels: int
    scores: dict[str, float]


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


def loosened_cases(sources: Sequence[Path], seed: int = 7) -> Iterator[tuple[Path, Case]]:
    """Cases in sorted order with their boxes loosened by 0 to 5 pixels per 256, one draw a box.

    Raises:
        CaseError: a case without a usable box for every label.
    """
    rng = np.random.default_rng(seed)
    for source in sorted(sources):
        case = read_case(source)
        shifts = [int(rng.integers(0, 6)) for _ in case.boxes]
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


def evaluate_boxes(sources: Sequence[Path], predictor: Predictor, seed: int = 7) -> Iterator[CaseScores]:
    """Scores of every label of labelled cases; each case is predicted as the container would."""
    for source, case in loosened_cases(sources, seed):
        truth = read_labels(source)
        prediction = predictor.segment(case)
        rows = []
        for index, box in enumerate(case.boxes, start=1):
            mask = truth == index
            if box is None or not mask.any():
                continue
            scores = {name: dice(answer(case.volume, box), mask) for name, answer in BASELINES.items()}
            scores[MODEL] = dice(prediction.labels == index, mask)
            rows.append(Row(case.name, case.modality or "other", index, int(mask.sum()), scores))
        if not rows:
            raise CaseError(f"{source.name}: gts: no label 1..{len(case.boxes)} occurs; nothing to score")
        yield CaseScores(case.name, rows, prediction.seconds)
