"""Automatic boxes against given ones (the paper's Table 1), with the case's own prompts withheld."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Integer

from lexor.evaluation.boxes import Answering
from lexor.evaluation.cases import spacing_of
from lexor.evaluation.metrics import dice
from lexor.evaluation.scores import Scores, score_case
from lexor.geometry import Box
from lexor.inference.strategies.automatic import box_overlap
from lexor.inference.targets import PromptMode
from lexor.io.case import Case
from lexor.protocol.clicks import labels_in

# DSC of the paper's Table 1, on its own data.
PAPER_MANUAL: Final = {"CT": 0.68, "MR": 0.30, "PET": 0.59, "US": 0.68}
PAPER_AUTOMATIC: Final = {"CT": 0.73, "MR": 0.30, "PET": 0.74, "US": 0.31}
# A target with a greater DSC with some label has found it.
FOUND_DSC: Final = 0.5


@dataclass(frozen=True)
class AutomaticRun:
    """The answer to a case from automatic boxes.

    Attributes:
        scores: as the challenge would count it: the answer to one box is class 1, every other label is missed.
        best_dsc: DSC with the label that it meets best. An automatic box does not know which label is meant.
        best_label: that label.
        seconds: that the prediction from one box took.
        mode: "auto" or "intensity".
        box_overlap: intersection over union of the box with that of the label it meets best, as the challenge
            measures boxes.
        confidence: the overlap with the truth that the model expected; None where it was not asked.
        top: how many targets the second answer has at most.
        top_dsc: the best DSC of any of its targets with any label.
        given_overlap: as `box_overlap`, of the case's own boxes, the best of them; None without any.
    """

    scores: Scores
    best_dsc: float
    best_label: int
    seconds: float
    mode: PromptMode = "auto"
    box_overlap: float = 0.0
    confidence: float | None = None
    top: int = 1
    top_dsc: float = 0.0
    given_overlap: float | None = None


def automatic_run(
    case: Case,
    truth: Integer[np.ndarray, "D H W"],
    predictor: Answering,
    mode: PromptMode = "auto",
    top: int = 1,
) -> AutomaticRun:
    """Scores of the answer that a case gets without its prompts.

    Args:
        case: its own boxes are compared, and withheld.
        mode: how boxes are found.
        top: of more than one target, a second answer is asked for: in it, an earlier target covers a later one.

    Raises:
        CaseError: the case has no spacing.
        ImportError: the extra `evaluate` is not installed.
    """
    spacing = spacing_of(case)
    bare = replace(case, boxes=(), clicks=(), previous=None)
    prediction = predictor.segment(bare, mode)
    met = _met(prediction.labels == 1, truth)
    best = max(met, key=lambda label: met[label])
    best_of_top = met[best]
    if top > 1:
        several = predictor.segment(bare, mode, top).labels
        best_of_top = max(
            (max(_met(several == index, truth).values()) for index in labels_in(several)), default=0.0
        )
    boxes = {label: Box.measured(truth == label) for label in met}
    target = next(iter(prediction.targets), None)
    box = None if target is None else target.box
    own = [
        box_overlap(given, boxes[label])
        for label, given in enumerate(case.boxes, start=1)
        if given is not None and label in boxes
    ]
    return AutomaticRun(
        scores=score_case(prediction.labels, truth, spacing),
        best_dsc=met[best],
        best_label=best,
        seconds=prediction.seconds,
        mode=mode,
        box_overlap=0.0 if box is None else max(box_overlap(box, true) for true in boxes.values()),
        confidence=None if target is None or target.found is None else target.found.confidence,
        top=top,
        top_dsc=best_of_top,
        given_overlap=max(own, default=None),
    )


def _met(mask: Bool[np.ndarray, "D H W"], truth: Integer[np.ndarray, "D H W"]) -> dict[int, float]:
    """DSC of a mask with every label."""
    return {label: dice(mask, truth == label) for label in labels_in(truth)}
