"""From a source, a challenge case or a scan, to a case with the prompts that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lexor.io.case import Case, read_case
from lexor.io.given import GivenPrompts, prompts_on
from lexor.io.scan import Scan, case_of, read_scan, scan_of
from lexor.io.scans.names import format_of


@dataclass(frozen=True)
class Reading:
    """How sources are read; of a challenge case, only prompts and names matter.

    series, frame, modality: see `read_scan`. window: see `case_of`. names: of classes 1, 2, ..., for the answers.
    prompts: take the place of a case's own.
    """

    series: str | None = None
    frame: int | None = None
    modality: str | None = None
    window: str | None = None
    prompts: GivenPrompts = field(default_factory=GivenPrompts)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Opened:
    """A source that was read. scan: what its answer is written on. names: of those classes that have one."""

    case: Case
    scan: Scan
    names: Mapping[int, str] = field(default_factory=dict)


def unused_names(names: Sequence[str], classes: int) -> str:
    """The warning where there are more names than classes."""
    found = f"{classes} class{'es' * (classes != 1)}"
    return f"--name is given {len(names)} times, and the answer has {found}; the names beyond are not used"


def open_source(source: Path, reading: Reading | None = None) -> Opened:
    """Read a challenge case or a scan. Raises CaseError, OSError: it cannot be read, or its prompts do not fit."""
    reading = reading or Reading()
    if format_of(source) == "npz" and not source.is_dir():
        case = read_case(source)
        scan = scan_of(case, source)
    else:
        scan = read_scan(source, series=reading.series, frame=reading.frame, modality=reading.modality)
        case = case_of(scan, reading.window)
    names = dict(enumerate(reading.names, 1))
    if not reading.prompts:
        return Opened(case, scan, names)
    prompts = prompts_on(reading.prompts, scan)
    return Opened(prompts.into(case), scan, {**prompts.names, **names})
