"""The box run: a model and the baselines on boxes loosened by the challenge's law."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Integer

from lexor.errors import CaseError
from lexor.evaluation.baselines import BASELINES
from lexor.evaluation.cases import loosened_cases, spacing_of, truth_of
from lexor.evaluation.metrics import dice, nsd
from lexor.evaluation.strata import strata_of
from lexor.inference.predictor import Prediction
from lexor.inference.session import Session
from lexor.inference.targets import PromptMode
from lexor.io.case import Case
from lexor.io.pairs import Source
from lexor.protocol.sources import source_of

MODEL = "Lexor"
METHODS = (*BASELINES, MODEL)


class Answering(Protocol):
    """What is evaluated: a `Predictor`, or in tests what stands in for one."""

    def segment(self, case: Case, prompt: PromptMode = "given", top: int = 1) -> Prediction:
        """The answer to a case."""

    def session(self, case: Case) -> Session:
        """A session on a case, with its prompts."""


@dataclass(frozen=True)
class Row:
    """Scores of one label.

    Attributes:
        source: where the case is from, see `source_of`.
        label: as class of the answer, see `classes_of`.
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


def label_rows(
    case: Case, truth: Integer[np.ndarray, "D H W"], labels: Integer[np.ndarray, "D H W"]
) -> list[Row]:
    """A row of scores for each label of the truth that the case has a box for.

    Args:
        case: with the boxes that `labels` were predicted from.

    Raises:
        CaseError: no spacing.
        ImportError: the extra `evaluate` is not installed.
    """
    spacing = spacing_of(case)
    rows = []
    for index, box in enumerate(case.boxes, start=1):
        mask = truth == index
        if box is None or not mask.any():
            continue
        answers = {name: answer(case.volume, box) for name, answer in BASELINES.items()}
        answers[MODEL] = labels == index
        row = Row(
            case=case.name,
            modality=case.modality or "other",
            source=source_of(case.name),
            label=index,
            voxels=int(mask.sum()),
            strata=strata_of(mask, box, spacing),
            scores={name: dice(answer, mask) for name, answer in answers.items()},
            nsd={name: nsd(answer, mask, spacing) for name, answer in answers.items()},
        )
        rows.append(row)
    return rows


def evaluate_boxes(
    paths: Sequence[Source], predictor: Answering, seed: int = 7, chosen: Collection[Source] | None = None
) -> Iterator[Row]:
    """Scores of every label of labelled cases; each case is predicted as the container would.

    Args:
        paths, seed, chosen: see `loosened_cases`.

    Raises:
        CaseError: a case without a usable box for every label, without labels, or without spacing.
        ImportError: the extra `evaluate` is not installed.
    """
    for source, case in loosened_cases(paths, seed, chosen):
        if isinstance(case, CaseError):
            raise case
        if not case.boxes or any(box is None for box in case.boxes):
            raise CaseError(
                f"{source.name}: boxes: every label needs a usable box here; remove the case or mend it"
            )
        spacing_of(case)
        truth = truth_of(case, source)
        rows = label_rows(case, truth, predictor.segment(case).labels)
        if not rows:
            raise CaseError(f"{source.name}: gts: no label 1..{len(case.boxes)} occurs; nothing to score")
        yield from rows
