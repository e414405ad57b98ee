"""The cases of a report: what each answer measures, how it scores, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lexor.errors import CaseError
from lexor.evaluation.metrics import NSD_NEEDS_DSC, dice, surface_dice
from lexor.evaluation.scores import TOLERANCE_MM, Scores
from lexor.evaluation.statistics import ClassStatistics, statistics_of
from lexor.geometry import Box, Clicks
from lexor.inference.runlog import CaseRecord
from lexor.protocol.clicks import labels_in
from lexor.viewing.answered import Answered, read_answered, read_truth
from lexor.viewing.planes import Scene, thumbnail


@dataclass(frozen=True)
class ReportedClass:
    """A class of a case: what it measures, and its scores where there is a truth."""

    statistics: ClassStatistics
    scores: Scores | None = None

    @property
    def remark(self) -> str:
        """What is odd about the class, in a few words; "" where nothing is."""
        if not self.statistics.voxels:
            return "empty"
        return "touches the border" if self.statistics.touches_border else ""


@dataclass(frozen=True)
class ReportedCase:
    """A case of a report.

    Attributes:
        run: name of its run.
        record: what the run's log says of it.
        classes: in order; empty where there is no answer to be read.
        scores: means over the classes that the truth has; None without truth. Without spacing there is no NSD, and
            it counts as 0.
        picture: a JPEG; None where there is nothing to draw.
        problem: why the answer, its source or its truth could not be read; None: they could.
    """

    run: str
    record: CaseRecord
    classes: tuple[ReportedClass, ...] = ()
    scores: Scores | None = None
    picture: bytes | None = None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the case has no answer."""
        return not self.record.answered

    @property
    def volume_ml(self) -> float | None:
        """Of all classes together; None where unknown."""
        volumes = [one.statistics.volume_ml for one in self.classes]
        return None if not volumes or None in volumes else float(sum(v for v in volumes if v is not None))

    @property
    def confidence(self) -> float | None:
        """The least overlap that the model expects of its automatic answers; None where there are none."""
        found = [prompt.get("confidence") for prompt in self.record.prompts]
        numbers = [float(value) for value in found if isinstance(value, int | float)]
        return min(numbers, default=None)

    @property
    def remarks(self) -> tuple[str, ...]:
        """One line each: warnings, empty classes, and classes that are cut off by the volume's border."""
        odd = [(one.statistics.name, one.remark) for one in self.classes]
        return (
            *self.record.warnings,
            *([self.problem] if self.problem is not None else []),
            *(f"{name}: {remark}" for name, remark in odd if remark),
        )

    def summary(self) -> str:
        """One line: scores, volume; or what is wrong."""
        name = self.record.case
        if self.failed:
            return f"{name}: no answer: {self.record.error}"
        parts = [] if self.scores is None else [f"DSC {self.scores.dsc:.3f}, NSD {self.scores.nsd:.3f}"]
        parts += [] if self.volume_ml is None else [f"{self.volume_ml:.4g} ml"]
        parts += [] if self.problem is None else [f"warning: {self.problem}"]
        return f"{name}: {', '.join(parts) or 'no spacing, so no volume'}"

    @property
    def badness(self) -> tuple[Any, ...]:
        """What is sorted by, worst first: no answer; low scores; low confidence; many remarks; the name."""
        return (
            not self.failed,
            self.scores.dsc if self.scores is not None else 2.0,
            self.confidence if self.confidence is not None else 2.0,
            -len(self.remarks),
            self.record.case,
        )


def reported(
    record: CaseRecord, run: str, truths: Path | None = None, options: Mapping[str, Any] | None = None
) -> ReportedCase:
    """A case as a report shows it. What cannot be read is said in it, and never raised.

    Args:
        truths: folder of truths by the cases' names; see `read_truth`.
        options: of the run, see `read_answered`.

    Raises:
        ImportError: scores are asked for, and the extra `evaluate` is not installed.
    """
    if not record.answered:
        return ReportedCase(run, record)
    try:
        answered = read_answered(record, options)
    except (CaseError, OSError, ValueError) as problem:
        return ReportedCase(run, record, problem=str(problem))
    truth, trouble = None, None
    if truths is not None:
        try:
            truth = read_truth(answered, record, truths)
        except (CaseError, OSError, ValueError) as problem:
            trouble = str(problem)
    scores = {} if truth is None else label_scores(answered.labels, truth, answered.spacing)
    found = answered.statistics()
    missing = scores.keys() - {one.label for one in found}
    if missing:  # the truth has classes that the answer has not
        names = {label: f"class {label}" for label in missing}
        found = sorted([*found, *_empty(answered, names)], key=lambda one: one.label)
    classes = tuple(ReportedClass(one, scores.get(one.label)) for one in found)
    return ReportedCase(
        run,
        record,
        classes,
        _means(scores),
        thumbnail(scene_of(answered, record, truth, title="")),
        trouble,
    )


def scene_of(
    answered: Answered, record: CaseRecord, truth: np.ndarray | None = None, title: str | None = None
) -> Scene:
    """The picture of an answer with the prompts of its record."""
    boxes, clicks = prompts_of(record, answered.labels.shape)
    return Scene(
        record.case if title is None else title,
        answered.case.volume,
        answered.labels,
        answered.spacing,
        truth,
        boxes,
        clicks,
        answered.names,
        answered.axes,
    )


def prompts_of(
    record: CaseRecord, shape: tuple[int, ...]
) -> tuple[tuple[Box | None, ...], tuple[Clicks, ...]]:
    """Boxes and clicks of classes 1, 2, ... as a record tells of them; what is none in this volume is left out."""
    boxes: dict[int, Box] = {}
    clicks: dict[int, Clicks] = {}
    for prompt in record.prompts:
        label, box, points = (prompt.get(key) for key in ("label", "box", "clicks"))
        if not isinstance(label, int) or label < 1:
            continue
        if isinstance(box, Mapping):
            try:
                boxes[label] = Box.from_dict(box, shape)
            except (CaseError, ValueError, TypeError):
                continue
        if isinstance(points, Mapping):
            clicks[label] = _clicks(points, shape)
    highest = min(max({*boxes, *clicks}, default=0), 10_000)
    numbers = range(1, highest + 1)
    return tuple(boxes.get(n) for n in numbers), tuple(clicks.get(n, Clicks()) for n in numbers)


def label_scores(labels: np.ndarray, truth: np.ndarray, spacing: Any) -> dict[int, Scores]:
    """DSC and NSD of each label that the truth has; their means are those of `score_case`."""
    found = {label: dice(labels == label, truth == label) for label in labels_in(truth)}
    low = not found or float(np.mean(list(found.values()))) <= NSD_NEEDS_DSC
    scores = {}
    for label, dsc in found.items():
        near = 0.0
        if spacing is not None and not low:
            near = surface_dice(labels == label, truth == label, spacing, TOLERANCE_MM)
        scores[label] = Scores(dsc, near)
    return scores


def _means(scores: Mapping[int, Scores]) -> Scores | None:
    if not scores:
        return None
    found = list(scores.values())
    return Scores(float(np.mean([s.dsc for s in found])), float(np.mean([s.nsd for s in found])))


def _empty(answered: Answered, names: Mapping[int, str]) -> list[ClassStatistics]:
    """Statistics of classes that are not in the answer."""
    nothing = np.zeros((1, 1, 1), np.uint8)
    return statistics_of(nothing, nothing, answered.spacing, answered.unit, names)


def _clicks(points: Mapping[str, Any], shape: tuple[int, ...]) -> Clicks:
    """The usable ones of {"fg": [[z, y, x], ...], "bg": ...}."""
    found: list[tuple[int, int, int]] = []
    kinds: list[bool] = []
    for kind in ("fg", "bg"):
        listed = points.get(kind)
        for point in listed if isinstance(listed, list) else ():
            whole = isinstance(point, list) and len(point) == 3 and all(isinstance(c, int) for c in point)
            if whole and all(0 <= c < n for c, n in zip(point, shape, strict=True)):
                found.append((point[0], point[1], point[2]))
                kinds.append(kind == "fg")
    return Clicks(tuple(found), tuple(kinds))
