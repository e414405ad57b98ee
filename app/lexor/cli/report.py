"""`lexor report`: a page over runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import check_folders, failure
from lexor.cli.output import say


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Folders of answers of `lexor predict`, or its run.json files."),
    ] = None,
    page: Annotated[
        Path | None, typer.Argument(metavar="PAGE.html", help="The .html file to write; it is replaced.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", help="Folder with the true labels of the cases, by their names: adds DSC and NSD."
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Lexor: answers",
) -> None:
    """Write one HTML page over runs: pictures, volumes, warnings, and scores where there is a truth; worst first.

    The page needs no network, and can be sent by mail. It reads the cases and answers where the run found them.
    """
    from lexor.cli.console import progress
    from lexor.errors import CaseError
    from lexor.inference.runlog import read_run
    from lexor.viewing.report_cases import reported
    from lexor.viewing.report_page import named_runs, write_page

    if page is None or not _is_page(page):
        given = " ".join(
            str(path) for path in [*(runs or []), page] if path is not None and not _is_page(path)
        )
        raise failure(
            f"PAGE.html is missing: give it last, for example lexor report {given or 'ANSWERS'} report.html"
        )
    if not runs:
        raise failure(
            f"RUN is missing: give a folder of answers first, for example lexor report ANSWERS {page}"
        )
    try:
        check_folders(page)
        if truth is not None and not truth.is_dir():
            raise CaseError(f"--truth {truth}: no such folder; give the one that holds the true labels")
        found = named_runs([(path, read_run(path)) for path in runs])
        cases = []
        with progress(sum(len(run.cases) for _, run in found)) as advance:
            for name, run in found:
                options = run.head.get("options")
                options = options if isinstance(options, dict) else None
                for record in run.cases:
                    case = reported(record, name, truth, options)
                    cases.append(case)
                    advance(case.summary())
        write_page(page, cases, found, title)
    except (CaseError, ValueError, OSError, ImportError) as problem:
        raise failure(problem) from None
    say(f"{page}: {len(cases)} case{'s' if len(cases) != 1 else ''}, {page.stat().st_size / 1e6:.1f} MB")


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in (".html", ".htm")
