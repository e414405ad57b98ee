"""Tables of scores: means over labels, for people (Markdown), for cards (JSON), and every label (CSV)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from lexor.evaluation.boxes import METHODS, MODEL, Row
from lexor.evaluation.strata import STRATA

Metric = Literal["DSC", "NSD"]
Grouping = Literal["modality", "stratum", "source", "all"]
METRICS: Final[tuple[Metric, ...]] = ("DSC", "NSD")
Mean = Callable[[Sequence[Row], Metric], dict[str, float]]
# The best of the answers that need no model; the small tables show it alone beside the model.
REFERENCE: Final = "inscribed ellipsoid"


def mean_scores(rows: Sequence[Row], metric: Metric = "DSC") -> dict[str, float]:
    """Mean over labels by method."""
    found = [row.scores if metric == "DSC" else row.nsd for row in rows]
    return {method: float(np.mean([scores[method] for scores in found])) for method in METHODS}


def mean_over_sources(rows: Sequence[Row], metric: Metric = "DSC") -> dict[str, float]:
    """Mean over sources of their means over labels, by method: no source with many labels decides."""
    means = [mean_scores(group, metric) for group in by_source(rows).values()]
    return {method: float(np.mean([scores[method] for scores in means])) for method in METHODS}


def modality_means(
    rows: Sequence[Row], metric: Metric = "DSC", mean: Mean = mean_scores
) -> dict[str, dict[str, float]]:
    """Means by method and modality, with "macro", the mean over modalities.

    Args:
        mean: over the rows of a modality, `mean_scores` or `mean_over_sources`.
    """
    means = {name: mean(group, metric) for name, group in by_modality(rows).items()}
    table = {method: {name: means[name][method] for name in means} for method in METHODS}
    for scores in table.values():
        scores["macro"] = float(np.mean(list(scores.values())))
    return table


def by_modality(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each modality, sorted by its name."""
    return _grouped(rows, lambda row: (row.modality,))


def by_source(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each source, sorted by its name."""
    return _grouped(rows, lambda row: (row.source,))


def by_stratum(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each stratum that occurs, in the order of `STRATA`. A row may be in several."""
    found = _grouped(rows, lambda row: row.strata)
    return {stratum: found[stratum] for stratum in STRATA if stratum in found}


def modality_table(rows: Sequence[Row], metric: Metric = "DSC") -> str:
    """Markdown: a metric by method and modality, with the number of labels."""
    means = modality_means(rows, metric)
    counts = {name: len(group) for name, group in by_modality(rows).items()} | {"macro": len(rows)}
    lines = [[method, *(f"{means[method][name]:.3f}" for name in counts)] for method in METHODS]
    return markdown([metric, *(f"{name} (n={n})" for name, n in counts.items())], lines)


def group_table(title: str, groups: dict[str, list[Row]]) -> str:
    """Markdown: number of labels, and both metrics of the ellipsoid and of the model, a line per group."""
    means = {name: [mean_scores(rows, metric) for metric in METRICS] for name, rows in groups.items()}
    return _beside_reference([title, "n"], {name: len(rows) for name, rows in groups.items()}, means)


def source_table(rows: Sequence[Row]) -> str:
    """Markdown: number of sources, and as in `group_table` the means over them, a line per modality and "macro"."""
    counts = {name: len(by_source(group)) for name, group in by_modality(rows).items()}
    counts["macro"] = len(by_source(rows))
    found = [modality_means(rows, metric, mean_over_sources) for metric in METRICS]
    means = {name: [{m: table[m][name] for m in METHODS} for table in found] for name in counts}
    return _beside_reference(["mean over sources", "sources"], counts, means)


def tables_of(rows: Sequence[Row], by: Grouping = "all") -> list[str]:
    """The Markdown tables of one grouping, or of all."""
    tables = []
    if by in ("modality", "all"):
        tables += [modality_table(rows, metric) for metric in METRICS]
    if by in ("stratum", "all"):
        tables.append(group_table("stratum", by_stratum(rows)))
    if by in ("source", "all"):
        tables += [group_table("source", by_source(rows)), source_table(rows)]
    return tables


def scores_of(rows: Sequence[Row]) -> dict[str, Any]:
    """The scores as a weights' card holds them, rounded to four places.

    Returns:
        "labels": number of labels by modality and, as "macro", of all. "DSC" and "NSD": by method the means
        of `modality_means`. "strata" and "sources": by name "labels", and by metric and method the mean over
        its labels. "mean over sources": by metric and method the means of `modality_means` over
        sources.
    """

    def rounded(scores: dict[str, float]) -> dict[str, float]:
        return {name: round(value, 4) for name, value in scores.items()}

    def groups(found: dict[str, list[Row]]) -> dict[str, Any]:
        return {
            name: {"labels": len(group)} | {metric: rounded(mean_scores(group, metric)) for metric in METRICS}
            for name, group in found.items()
        }

    def by_metric(mean: Mean) -> dict[str, Any]:
        return {
            metric: {m: rounded(means) for m, means in modality_means(rows, metric, mean).items()}
            for metric in METRICS
        }

    return {
        "labels": {name: len(group) for name, group in by_modality(rows).items()} | {"macro": len(rows)},
        **by_metric(mean_scores),
        "strata": groups(by_stratum(rows)),
        "sources": groups(by_source(rows)),
        "mean over sources": by_metric(mean_over_sources),
    }


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV with one row per label; several strata are joined by "; "."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        heads = [f"{metric} {method}" for metric in METRICS for method in METHODS]
        writer.writerow(["case", "modality", "source", "label", "voxels", "strata", *heads])
        for row in rows:
            scores = [f"{found[method]:.6f}" for found in (row.scores, row.nsd) for method in METHODS]
            facts = [row.case, row.modality, row.source, row.label, row.voxels, "; ".join(row.strata)]
            writer.writerow([*facts, *scores])


def _beside_reference(
    head: Sequence[str], counts: dict[str, int], means: dict[str, list[dict[str, float]]]
) -> str:
    """Markdown: a line per name with its count, and the means of the ellipsoid and the model by metric."""
    methods = (REFERENCE, MODEL)
    heads = [f"{metric} {method}" for metric in METRICS for method in methods]
    lines = [
        [name, str(counts[name]), *(f"{scores[method]:.3f}" for scores in found for method in methods)]
        for name, found in means.items()
    ]
    return markdown([*head, *heads], lines)


def _grouped(rows: Sequence[Row], names: Callable[[Row], tuple[str, ...]]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        for name in names(row):
            groups.setdefault(name, []).append(row)
    return dict(sorted(groups.items()))


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [f"| {' | '.join(cells)} |" for cells in (head, *lines)]
    return "\n".join([rows[0], "|---" * len(head) + "|", *rows[1:]])
