"""What a run leaves beside its answers: statistics, pictures, and run.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lexor.errors import CaseError
from lexor.evaluation.statistics import check_statistics, write_statistics
from lexor.inference.answers import stem_of
from lexor.inference.outcome import Outcome
from lexor.inference.runlog import CaseRecord, Run, write_run
from lexor.viewing.answered import Answered, answer_in, read_answered


class Extras:
    """Takes in outcomes, one after the other, and writes what is asked for of them.

    Args:
        head: of the run.
        statistics: a CSV or JSON file, written by `finish`.
        preview: whether each answer has a picture beside it, NAME.png.
        report: the run.json file, written by `finish`.

    Raises:
        CaseError: the file of statistics is neither .csv nor .json.
    """

    def __init__(
        self,
        head: Mapping[str, Any],
        statistics: Path | None = None,
        preview: bool = False,
        report: Path | None = None,
    ) -> None:
        if statistics is not None:
            check_statistics(statistics)
        self._head, self._statistics, self._preview, self._report = dict(head), statistics, preview, report
        self._rows: list[dict[str, Any]] = []
        self._records: list[CaseRecord] = []

    def add(self, outcome: Outcome) -> list[str]:
        """Takes in an outcome; a line for each thing that could not be done with it."""
        record = outcome.record
        if record is None:
            return []
        self._records.append(record)
        if not record.answered or (self._statistics is None and not self._preview):
            return []
        problems = []
        try:
            answered = answer_in(outcome) or read_answered(record, self._head.get("options"))
            if self._statistics is not None:
                self._rows += [one.row(record.case) for one in answered.statistics()]
            if self._preview:
                self._draw(answered, record)
        except (CaseError, OSError, ValueError) as problem:
            problems.append(str(problem))
        return problems

    def _draw(self, answered: Answered, record: CaseRecord) -> None:
        from lexor.viewing.planes import write_preview
        from lexor.viewing.report_cases import scene_of

        write_preview(scene_of(answered, record), picture_of(record))

    def finish(self) -> None:
        """Writes the files of the run, of all that was taken in until now; none where there was nothing.

        Raises:
            OSError: one cannot be written.
        """
        if self._statistics is not None and self._records:
            write_statistics(self._statistics, self._rows)
        if self._report is not None and self._records:
            write_run(self._report, Run(self._head, tuple(self._records)))


def picture_of(record: CaseRecord) -> Path:
    """The place of a case's picture: beside the answer, under its name."""
    return record.output.with_name(f"{stem_of(record.output)}.png")
