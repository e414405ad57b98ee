"""What an evaluation finds out about a case, and the record of it that a later run goes on from."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lexor.errors import CaseError
from lexor.evaluation.automatic import AutomaticRun
from lexor.evaluation.baselines import BASELINES
from lexor.evaluation.boxes import Row
from lexor.evaluation.rounds import Run
from lexor.evaluation.scores import Scores, area_under_runs
from lexor.protocol.clicks import Click

# The challenge allows so many seconds a class, summed over all runs of a case.
SECONDS_PER_CLASS = 90


@dataclass(frozen=True)
class CaseResult:
    """Scores of one case.

    Attributes:
        n_labels: that the truth holds.
        box_run: None where the case has no boxes, or they were withheld.
        click_runs: in order.
        automatic: None unless automatic boxes were asked for.
        rows: the box run label by label, beside the baselines; empty without a box run.
    """

    case: str
    modality: str
    source: str
    n_labels: int
    box_run: Run | None
    click_runs: tuple[Run, ...] = ()
    automatic: AutomaticRun | None = None
    rows: tuple[Row, ...] = ()

    @property
    def auc(self) -> Scores | None:
        """Areas under the click runs, 0..number of clicks less one; None where a single one, or none, has no area."""
        if len(self.click_runs) < 2:
            return None
        return Scores(
            area_under_runs([run.scores.dsc for run in self.click_runs]),
            area_under_runs([run.scores.nsd for run in self.click_runs]),
        )

    @property
    def final(self) -> Scores:
        """Scores of the last run; 0 where there was none."""
        runs = self.click_runs or ((self.box_run,) if self.box_run else ())
        return runs[-1].scores if runs else Scores(0.0, 0.0)

    @property
    def seconds(self) -> float:
        """That the predictions of the protocol took."""
        runs = [run for run in (self.box_run, *self.click_runs) if run is not None]
        return float(sum(run.seconds for run in runs))

    def summary(self) -> str:
        """One line: DSC of every run, and of the best baseline."""
        parts = [f"{self.n_labels} label{'s' if self.n_labels > 1 else ''}"]
        if self.box_run is not None:
            parts.append(f"DSC {self.box_run.scores.dsc:.3f}")
        if self.rows:
            means = {name: float(np.mean([row.scores[name] for row in self.rows])) for name in BASELINES}
            best = max(means, key=lambda name: means[name])
            parts[-1] += f" ({best} {means[best]:.3f})"
        if self.click_runs:
            parts.append("clicks " + " ".join(f"{run.scores.dsc:.3f}" for run in self.click_runs))
        if self.automatic is not None:
            parts.append(f"automatic {self.automatic.best_dsc:.3f} of label {self.automatic.best_label}")
        return f"{self.case}: {', '.join(parts)}, {self.seconds:.1f} s"


class Record:
    """The finished cases of an evaluation, one JSON line each, below a line of the settings they hold for.

    Args:
        path: is made if missing; None keeps nothing.
        settings: whatever a result depends on, as JSON values.

    Raises:
        CaseError: the file is of other settings, or is no such record.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._path = path
        self.finished: dict[str, CaseResult] = {}
        if path is None:
            return
        wanted = json.loads(json.dumps(dict(settings)))
        whole = self._read(path, wanted) if path.exists() else 0
        with path.open("ab") as file:
            # What a run that was killed had half written.
            file.truncate(whole)
            if not whole:
                file.write(_line({"settings": wanted}))

    def _read(self, path: Path, wanted: Any) -> int:
        """Takes in the whole lines of a record; how many bytes they are."""
        data = path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        remedy = "remove it, or give another --csv"
        found: Any = wanted
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
                if number == 1:
                    found = dict(value["settings"])
                else:
                    result = result_from_dict(value)
                    self.finished[result.case] = result
            except (ValueError, KeyError, TypeError, AttributeError):
                raise CaseError(f"{path}: line {number} is no result of an evaluation; {remedy}") from None
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                raise CaseError(
                    f"{path}: holds results for {key} {found.get(key)!r}, not {wanted.get(key)!r}; {remedy}"
                )
        return sum(map(len, lines))

    def add(self, result: CaseResult) -> None:
        """Notes a finished case; it is on disk when this returns."""
        self.finished[result.case] = result
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(_line(asdict(result)))
                file.flush()
                os.fsync(file.fileno())


def result_from_dict(value: Mapping[str, Any]) -> CaseResult:
    """The inverse of `dataclasses.asdict`, after a way through JSON.

    Raises:
        KeyError, TypeError: it is no result.
    """
    automatic = value["automatic"]
    return CaseResult(
        case=value["case"],
        modality=value["modality"],
        source=value["source"],
        n_labels=value["n_labels"],
        box_run=None if value["box_run"] is None else _run(value["box_run"]),
        click_runs=tuple(_run(run) for run in value["click_runs"]),
        automatic=None
        if automatic is None
        else AutomaticRun(**{**automatic, "scores": Scores(**automatic["scores"])}),
        rows=tuple(Row(**{**row, "strata": tuple(row["strata"])}) for row in value["rows"]),
    )


def write_challenge_csv(path: Path, results: Iterable[CaseResult], clicks: int) -> None:
    """A CSV with one row per case in the columns of the organisers' own; the file appears complete or not at all.

    A box run that did not take place has zeros, as theirs has; the areas are empty where there are none.
    """
    runs = range(1, clicks + 2)
    heads = ["CaseName", "TotalRunningTime", *(f"RunningTime_{i}" for i in runs)]
    heads += ["DSC_AUC", "NSD_AUC", "DSC_Final", "NSD_Final"]
    heads += [f"{metric}_{i}" for metric in ("DSC", "NSD") for i in runs]
    heads += ["num_class", "runtime_upperbound"]
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        for result in results:
            nothing = Run(Scores(0.0, 0.0), 0.0)
            found = (result.box_run or nothing, *result.click_runs)
            areas = ("", "") if result.auc is None else (result.auc.dsc, result.auc.nsd)
            writer.writerow(
                [
                    f"{result.case}.npz",
                    result.seconds,
                    *(run.seconds for run in found),
                    *(*areas, result.final.dsc, result.final.nsd),
                    *(run.scores.dsc for run in found),
                    *(run.scores.nsd for run in found),
                    *(result.n_labels, result.n_labels * SECONDS_PER_CLASS),
                ]
            )
    partial.replace(path)


def _run(value: Mapping[str, Any]) -> Run:
    clicks = {int(label): _click(click) for label, click in value["clicks"].items()}
    return Run(Scores(**value["scores"]), value["seconds"], clicks)


def _click(value: Any) -> Click | None:
    if value is None:
        return None
    (z, y, x), foreground = value
    return (z, y, x), foreground


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
