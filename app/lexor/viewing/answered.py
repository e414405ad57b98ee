"""An answered case as it lies on disk: the volume as measured, and its labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from lexor.errors import CaseError
from lexor.evaluation.cases import classes_of
from lexor.evaluation.statistics import ClassStatistics, statistics_of
from lexor.inference.outcome import Outcome
from lexor.inference.runlog import CaseRecord
from lexor.io.case import Case
from lexor.io.reading import Reading, open_source
from lexor.io.scan import Scan, is_scan, name_of, read_mask

GREY: Final = "grey value 0-255"
# Where the axes of patient coordinates (x, y, z in LPS) point to, and where they come from.
_ENDS: Final = (("L", "R"), ("P", "A"), ("S", "I"))


@dataclass(frozen=True)
class Answered:
    """A case with its answer.

    Attributes:
        case: as it was segmented, grey values 0..255.
        scan: as it was measured.
        labels: (D, H, W).
        names: of classes.
    """

    case: Case
    scan: Scan
    labels: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres (z, y, x); None where a challenge case does not tell them."""
        return self.case.spacing

    @property
    def unit(self) -> str:
        """Of the voxels as measured."""
        return self.scan.unit or (GREY if self.scan.format == "npz" else "as stored")

    def statistics(self) -> list[ClassStatistics]:
        """Of every class; of PET with the SUV peak."""
        volume = None if self.spacing is None else abs(float(np.linalg.det(self.scan.affine[:3, :3])))
        peak = self.scan.modality == "PET" and self.scan.unit == "SUV"
        return statistics_of(self.scan.voxels, self.labels, self.spacing, self.unit, self.names, peak, volume)

    @property
    def axes(self) -> tuple[str, ...]:
        """Where each axis of the array points to in the patient: see `Scene`; () where that is not known."""
        return () if self.scan.format in ("npz", "tiff") else axes_of(self.scan.affine)


def axes_of(affine: np.ndarray) -> tuple[str, ...]:
    """The ends of the patient's axes that those of an array (z, y, x) point to most nearly; () if two share one."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    nearest = np.abs(directions).argmax(axis=0)
    if len(set(nearest.tolist())) < 3:
        return ()
    return tuple(_ENDS[axis][int(directions[axis, i] < 0)] for i, axis in enumerate(nearest.tolist()))


def read_answered(record: CaseRecord, options: Mapping[str, Any] | None = None) -> Answered:
    """The case and the answer that a record tells of.

    Args:
        options: with which the case was read: "series", "frame", "modality", "window".

    Raises:
        CaseError: one of them cannot be read, or they do not belong together. OSError.
    """
    opened = open_source(record.source, _reading(options or {}))
    labels, names = read_mask(record.output, opened.scan)
    return Answered(opened.case, opened.scan, labels, {**names, **dict(record.names)})


def read_truth(answered: Answered, record: CaseRecord, folder: Path) -> np.ndarray:
    """The true classes of a case: the file of its name in a folder, in any format; see `classes_of`.

    Raises:
        CaseError: there is none, it has no label, or it is of another volume. OSError.
    """
    # nnU-Net's images are NAME_0000, and its labels NAME.
    names = (record.case, re.sub(r"_\d{4}$", "", record.case))
    found = [path for path in sorted(folder.iterdir()) if name_of(path) in names and is_scan(path)]
    if not found:
        raise CaseError(f"{record.case}: {folder} holds no labels of that name")
    truth, _ = read_mask(found[0], answered.scan)
    if not truth.any():
        raise CaseError(f"{found[0].name}: has no label above 0; nothing to score")
    return classes_of(truth, len(record.prompts))


def answer_in(outcome: Outcome) -> Answered | None:
    """The answer that an outcome holds; None where it was not made in this run, or there is none."""
    if outcome.case is None or outcome.scan is None or outcome.prediction is None or outcome.record is None:
        return None
    return Answered(outcome.case, outcome.scan, outcome.prediction.labels, dict(outcome.record.names))


def _reading(options: Mapping[str, Any]) -> Reading:
    """How a run read its sources; options of another kind than they are written in do not count."""

    def text(key: str) -> str | None:
        return value if isinstance(value := options.get(key), str) else None

    frame = options.get("frame")
    return Reading(
        text("series"), frame if isinstance(frame, int) else None, text("modality"), text("window")
    )
