"""An answered case as it lies on disk: the volume as measured, and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lexor.errors import CaseError
from lexor.evaluation.cases import truth_of
from lexor.evaluation.statistics import ClassStatistics, statistics_of
from lexor.inference.runlog import CaseRecord
from lexor.io.case import Case, read_case, read_labels

GREY = "grey value 0-255"


@dataclass(frozen=True)
class Answered:
    """A case with its answer.

    Attributes:
        case: as it was segmented, grey values 0..255.
        voxels: (D, H, W), as measured.
        unit: of the voxels.
        labels: (D, H, W).
        names: of classes.
        axes: see `Scene`.
        peak: whether an SUV peak is to be given.
    """

    case: Case
    voxels: np.ndarray
    unit: str
    labels: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)
    axes: Sequence[str] = ()
    peak: bool = False

    def statistics(self) -> list[ClassStatistics]:
        """Of every class."""
        return statistics_of(self.voxels, self.labels, self.case.spacing, self.unit, self.names, self.peak)


def read_answered(record: CaseRecord) -> Answered:
    """The case and the answer that a record tells of.

    Raises:
        CaseError: one of them cannot be read, or they do not belong together. OSError.
    """
    case = read_case(record.source)
    labels = read_labels(record.output, "segs")
    if labels.shape != case.volume.shape:
        raise CaseError(
            f"{record.output.name}: segs has shape {labels.shape}, imgs of {record.source.name} "
            f"{case.volume.shape}; segment it again"
        )
    return Answered(case, case.volume, GREY, labels, dict(record.names))


def read_truth(answered: Answered, record: CaseRecord, folder: Path) -> np.ndarray:
    """The truth of a case: the file of its name in a folder.

    Raises:
        CaseError: there is none, or it is of another volume. OSError.
    """
    return truth_of(answered.case, record.source, folder)


def answered_now(outcome: object) -> Answered | None:
    return None
