"""Automatic boxes against given ones (the paper's Table 1), with the case's own prompts withheld."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Integer

from lexor.case import Case
from lexor.evaluation.boxes import Answering
from lexor.evaluation.cases import spacing_of
from lexor.evaluation.clicks import labels_in
from lexor.evaluation.metrics import dice
from lexor.evaluation.scores import Scores, score_case

# DSC of the paper's Table 1, on its own data.
PAPER_MANUAL: Final = {"CT": 0.68, "MR": 0.30, "PET": 0.59, "US": 0.68}
PAPER_AUTOMATIC: Final = {"CT": 0.73, "MR": 0.30, "PET": 0.74, "US": 0.31}


@dataclass(frozen=True)
class AutomaticRun:
    """The answer to a case from one automatic box.

    Attributes:
        scores: as the challenge would count it: the answer is class 1, and every other label is missed.
        best_dsc: DSC with the label that it meets best. An automatic box does not know which label is meant.
        best_label: that label.
        seconds: that the prediction took.
    """

    scores: Scores
    best_dsc: float
    best_label: int
    seconds: float


def automatic_run(case: Case, truth: Integer[np.ndarray, "D H W"], predictor: Answering) -> AutomaticRun:
    """Scores of the answer that a case gets without its prompts.

    Raises:
        CaseError: the case has no spacing.
        ImportError: the extra `evaluate` is not installed.
    """
    spacing = spacing_of(case)
    bare = replace(case, boxes=(), clicks=(), previous=None)
    prediction = predictor.segment(bare, "auto")
    mask = prediction.labels == 1
    met = {label: dice(mask, truth == label) for label in labels_in(truth)}
    best = max(met, key=lambda label: met[label])
    return AutomaticRun(score_case(prediction.labels, truth, spacing), met[best], best, prediction.seconds)
