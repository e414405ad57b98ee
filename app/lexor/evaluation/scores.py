"""Scores of a case as the challenge counts them: means over its labels, and areas under the click runs.

Source: CVPR25_iter_eval.py (github JunMa11/CVPR-MedSegFMCompetition, commit 748e862).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Integer

from lexor.evaluation.metrics import NSD_NEEDS_DSC, dice, surface_dice
from lexor.protocol.clicks import labels_in

TOLERANCE_MM: Final = 2.0


@dataclass(frozen=True)
class Scores:
    """Means over the labels of a case, 0..1."""

    dsc: float
    nsd: float


def score_case(
    labels: Integer[np.ndarray, "D H W"],
    truth: Integer[np.ndarray, "D H W"],
    spacing: Sequence[float],
) -> Scores:
    """Scores of an answer over the labels that the truth holds; what else is answered does not count.

    NSD is 0 where the case's mean DSC is 0.2 or less; otherwise every label counts with what it has, one of a
    lower DSC too.

    Args:
        spacing: millimetres in the file's order, which the organisers apply to the array's axes as it is.
    """
    found = labels_in(truth)
    dsc = float(np.mean([dice(labels == label, truth == label) for label in found]))
    if dsc <= NSD_NEEDS_DSC:
        return Scores(dsc, 0.0)
    nsd = np.mean([surface_dice(labels == label, truth == label, spacing, TOLERANCE_MM) for label in found])
    return Scores(dsc, float(nsd))


def area_under_runs(values: Sequence[float]) -> float:
    """Trapezoids over the click runs one apart, two of them or more: at most 4 for five of them."""
    return float(np.trapezoid(values))
