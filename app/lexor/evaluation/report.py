"""What an evaluation leaves: its tables and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lexor.evaluation.evaluate import Settings
from lexor.evaluation.interactive_tables import automatic_tables, interactive_scores, runs_tables
from lexor.evaluation.results import CaseResult, write_challenge_csv
from lexor.evaluation.tables import Grouping, scores_of, tables_of, write_rows


def report_of(results: Sequence[CaseResult], settings: Settings, by: Grouping = "modality") -> list[str]:
    """The Markdown tables: the box run label by label, the runs, and automatic boxes, whatever there is of it."""
    rows = [row for result in results for row in result.rows]
    tables = tables_of(rows, by) if rows else []
    if settings.clicks:
        tables += runs_tables(results)
    if any(result.automatic is not None for result in results):
        tables += automatic_tables(results)
    return tables


def write_files(
    results: Sequence[CaseResult],
    settings: Settings,
    csv: Path | None = None,
    label_csv: Path | None = None,
    card: Path | None = None,
) -> None:
    """Writes those files that are named.

    Args:
        csv: a row per case, see `write_challenge_csv`.
        label_csv: a row per label, see `write_rows`.
        card: JSON of `scores_of`, and as "interactive" of `interactive_scores`, each where there are such runs.

    Raises:
        OSError: one of them cannot be written.
    """
    rows = [row for result in results for row in result.rows]
    if csv is not None:
        write_challenge_csv(csv, results, settings.clicks)
    if label_csv is not None:
        write_rows(label_csv, rows)
    if card is not None:
        scores = scores_of(rows) if rows else {}
        if settings.clicks and results:
            scores["interactive"] = interactive_scores(results)
        card.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
