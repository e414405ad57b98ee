"""Following a run: what is printed of each case, and how a run ends that is stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lexor.cli.output import say

if TYPE_CHECKING:
    from lexor.inference.outcome import Outcome
    from lexor.viewing.extras import Extras

INTERRUPTED = 130


@dataclass
class Tally:
    """How many cases there are, how many have an answer, how many of these had it before; and what went wrong.

    Attributes:
        written: the last answer.
        problems: statistics or pictures that could not be made.
        status: exit status of a run that was stopped; None: it came to its end.
    """

    total: int
    answered: int = 0
    kept: int = 0
    problems: int = 0
    written: Path | None = None
    status: int | None = None


def follow(outcomes: Iterable[Outcome], total: int, extras: Extras, as_json: bool = False) -> Tally:
    """Prints of every case a line, or with `as_json` a line of JSON and nothing else, and takes it into the extras.

    Ctrl-C and SIGTERM end it after what is being written, and what was done until then is kept.

    Raises:
        CaseError, OSError, ...: as the run does.
    """
    from lexor.cli.console import progress

    tally = Tally(total)
    try:
        with progress(total, lines=not as_json) as advance:
            for outcome in outcomes:
                tally.answered += outcome.error is None
                tally.kept += outcome.kept
                tally.written = outcome.output if outcome.error is None else tally.written
                problems = extras.add(outcome)
                tally.problems += len(problems)
                if as_json:
                    typer.echo(json.dumps(_line(outcome, problems)))
                for warning in (*outcome.warnings, *problems):
                    advance.note(f"warning: {warning}")
                advance(outcome.summary())
    except KeyboardInterrupt:
        tally.status = INTERRUPTED
    except SystemExit as end:  # SIGTERM
        tally.status = end.code if isinstance(end.code, int) else 1
    finally:
        extras.finish()
    return tally


def conclude(tally: Tally, where: str, as_json: bool = False) -> None:
    """Prints how many cases were answered.

    Raises:
        typer.Exit: not all was done: 1; or the run was stopped: as the shell expects it.
    """
    missing = tally.total - tally.answered
    cases = f"{tally.answered} of {tally.total} case{'s' if tally.total != 1 else ''} answered"
    before = f", {tally.kept} of them before" if tally.kept else ""
    stopped = tally.status is not None
    lead, trail = ("stopped: ", "; --resume goes on") if stopped else ("", "")
    say(f"{lead}{cases}{before}: {where}{trail}", err=as_json or stopped or missing > 0)
    if tally.status is not None:
        raise typer.Exit(tally.status)
    if missing or tally.problems:
        raise typer.Exit(1)


def _line(outcome: Outcome, problems: list[str]) -> dict[str, Any]:
    """An outcome for machines; paths are relative to the working directory."""
    record = outcome.record
    assert record is not None
    status = "kept" if outcome.kept else "answered" if record.answered else "failed"
    line = {"status": status, **record.to_dict(Path.cwd())}
    return {**line, "warnings": [*record.warnings, *problems]}
