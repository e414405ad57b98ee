"""The challenge's interactive protocol on one case: the box run, then rounds of one click a class.

The organisers run a container per round on a file with the clicks so far and the last answer; here one session gets
the same prompts.
Source: CVPR25_iter_eval.py (github JunMa11/CVPR-MedSegFMCompetition, commit 748e862).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Integer

from lexor.evaluation.boxes import Answering
from lexor.evaluation.cases import classes_of, spacing_of
from lexor.evaluation.scores import Scores, score_case
from lexor.geometry import Clicks
from lexor.io.case import Case
from lexor.protocol.clicks import Click, next_clicks

CLICKS = 5


@dataclass(frozen=True)
class Run:
    """One run of the protocol.

    Attributes:
        scores: of its answer.
        seconds: that the prediction took.
        clicks: what was clicked before it, by class; None where the class was perfect. Empty in the box run.
    """

    scores: Scores
    seconds: float
    clicks: dict[int, Click | None] = field(default_factory=dict)


def runs_of(
    case: Case, truth: Integer[np.ndarray, "D H W"], predictor: Answering, clicks: int = CLICKS
) -> Iterator[tuple[Run, Integer[np.ndarray, "D H W"]]]:
    """The runs of a case, each with its answer: the box run, if the case has boxes, and the click rounds.

    Without boxes the first run comes with clicks, given to an answer that is all background. Clicks that the
    case itself may hold are in the box run and are dropped afterwards, as the organisers do it.

    Args:
        case: as the evaluator's file.
        truth: its labels; class i of the prompts and answers is what `classes_of` says.
        predictor: is asked once a run.
        clicks: rounds, each with one click a label.

    Raises:
        CaseError: the case has no spacing.
        ImportError: the extra `evaluate` is not installed.
    """
    spacing = spacing_of(case)
    truth = classes_of(truth, len(case.boxes))
    labels = np.zeros(truth.shape, np.uint8)
    if case.boxes:
        prediction = predictor.segment(case)
        labels = prediction.labels
        yield Run(score_case(labels, truth, spacing), prediction.seconds), labels
    entries = max(len(case.boxes), int(truth.max()))
    boxes = case.boxes and case.boxes + (None,) * (entries - len(case.boxes))
    session = predictor.session(replace(case, boxes=boxes, clicks=(Clicks(),) * entries, previous=labels))
    for _ in range(clicks):
        new = next_clicks(labels, truth)
        session.add_clicks({label: click for label, click in new.items() if click is not None})
        prediction = session.predict()
        labels = prediction.labels
        yield Run(score_case(labels, truth, spacing), prediction.seconds, new), labels
