"""What became of a source: its answer or its error, a line for people, and a record for the run's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lexor.errors import without_name
from lexor.inference.answers import Answer, stem_of
from lexor.inference.prediction import Prediction
from lexor.inference.runlog import CaseRecord, hash_of, prompt_of
from lexor.inference.targets import AutomaticBox, Target
from lexor.io.case import Case
from lexor.io.reading import Opened
from lexor.io.scan import Scan, name_of
from lexor.io.scans.names import named_path

# Of so many automatic boxes a summary tells how they were found.
MOST_SHOWN = 10


@dataclass(frozen=True)
class Outcome:
    """What became of one source: `error` is None where an answer was written to `output`.

    case, scan: what was read of it, None where it could not be.
    record: what a run's log holds of it.
    kept: whether the answer is that of an earlier run, of which nothing has changed; then nothing was read.
    """

    source: Path
    output: Path
    case: Case | None
    prediction: Prediction | None
    error: str | None
    seconds: float
    scan: Scan | None = None
    record: CaseRecord | None = None
    kept: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of reading and of predicting."""
        read = self.case.warnings if self.case else ()
        return read + (self.prediction.warnings if self.prediction else ())

    def summary(self) -> str:
        """One line: shape, prompts and where they came from, classes, seconds; or the error."""
        if self.kept:
            return f"{self._name}: answered before, from the same input, options and weights"
        if self.error is not None or self.case is None or self.prediction is None:
            return f"{self._name}: FAILED: {without_name(self.error or '', self._name, name_of(self.source))}"
        targets = self.prediction.targets
        shape = "x".join(map(str, self.prediction.labels.shape))
        return (
            f"{self._name}: {shape}, prompts: {_prompts(targets)}, "
            f"{len(targets)} class{'es' if len(targets) != 1 else ''}, {self.seconds:.1f} s"
        )

    @property
    def _name(self) -> str:
        return named_path(self.source).name


def _prompts(targets: Sequence[Target]) -> str:
    """What pointed at the classes: their boxes, all clicks, and whether there was a last answer."""
    boxes: dict[str, list[AutomaticBox | None]] = {}
    for target in targets:
        if target.box is not None:
            boxes.setdefault("stand-in" if target.stand_in else target.source, []).append(target.found)
    texts = []
    for kind, found in boxes.items():
        several = len(found) != 1
        text = {
            "box": "boxes" if several else "box",
            "stand-in": "automatic in place of "
            + ("unreadable prompts" if several else "an unreadable prompt"),
        }.get(kind, kind)
        hows = [box.summary() for box in found if box is not None]
        how = "; ".join(hows[:MOST_SHOWN]) + "; ..." * (len(hows) > MOST_SHOWN)
        texts.append(f"{len(found)} {text}" + (f" ({how})" if how else ""))
    clicks = sum(len(target.clicks.points) for target in targets)
    parts = [", ".join(texts)] if texts else []
    if clicks:
        parts.append(f"{clicks} click{'s' if clicks != 1 else ''}")
    if any(target.previous is not None for target in targets):
        parts.append("previous labels")
    return " + ".join(parts)


def outcome_of(
    answer: Answer,
    opened: Opened | None,
    prediction: Prediction | None,
    error: str | None,
    seconds: float,
    digest: str,
    head: Mapping[str, Any] | None,
) -> Outcome:
    """What became of a source, with its record."""
    case, scan = (None, None) if opened is None else (opened.case, opened.scan)
    outcome = Outcome(answer.source, answer.path, case, prediction, error, seconds, scan)
    record = CaseRecord(
        # Folders may share a name, and their answers do not.
        case=stem_of(answer.path) if answer.source.is_dir() else name_of(answer.source),
        source=answer.source,
        output=answer.path,
        answered=error is None,
        error=error,
        warnings=outcome.warnings,
        seconds=round(seconds, 3),
        shape=() if case is None else case.volume.shape,
        prompts=() if prediction is None else tuple(map(prompt_of, prediction.targets)),
        input=digest,
        answer=hash_of(answer.path) if head is not None and error is None else "",
        key="" if head is None else str(head["key"]),
        names=() if opened is None else tuple(sorted(opened.names.items())),
    )
    return replace(outcome, record=record)
