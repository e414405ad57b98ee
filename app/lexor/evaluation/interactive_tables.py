"""Tables of the interactive protocol: means over cases, as the challenge takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lexor.evaluation.automatic import PAPER_AUTOMATIC, PAPER_MANUAL, AutomaticRun
from lexor.evaluation.boxes import MODEL
from lexor.evaluation.results import CaseResult
from lexor.evaluation.scores import Scores
from lexor.evaluation.tables import METRICS, Metric, markdown

MACRO = "macro"
Take = Callable[[CaseResult], Scores]


def runs_tables(results: Sequence[CaseResult]) -> list[str]:
    """Markdown, a table per metric: the runs by modality, with the number of cases.

    Cases with a box run and cases without one have tables of their own.
    """
    tables = []
    for title, group in _by_start(results).items():
        if not any(result.click_runs for result in group):
            continue
        table = runs_means(group)
        for metric in METRICS:
            head = [f"{metric}, {title}", *_counted(group)]
            lines = [
                [name, *(f"{_value(scores, metric):.3f}" for scores in means.values())]
                for name, means in table.items()
            ]
            tables.append(markdown(head, lines))
    return tables


def runs_means(results: Sequence[CaseResult]) -> dict[str, dict[str, Scores]]:
    """Means over cases by run and modality, with "macro", the mean over modalities.

    Args:
        results: all with a box run, or all without.

    Returns:
        By "box" (if there is one), "1 click", ..., "AUC", "Final".
    """
    if not results:
        return {}
    takes: dict[str, Take] = {} if results[0].box_run is None else {"box": _box_scores}
    for index in range(len(results[0].click_runs)):
        takes[f"{index + 1} click{'s' if index else ''}"] = partial(_click_scores, index)
    takes |= {"AUC": lambda result: result.auc, "Final": lambda result: result.final}
    return {name: _means(results, take) for name, take in takes.items()}


def automatic_table(results: Sequence[CaseResult]) -> str:
    """Markdown: DSC from given and from automatic boxes by modality, means over cases, beside the paper's."""
    found = [result for result in results if result.automatic is not None]
    boxed = [result for result in found if result.box_run is not None]
    takes: dict[str, tuple[list[CaseResult], Take]] = {
        "given boxes, mean over labels": (boxed, _box_scores),
        "one automatic box, mean over labels": (found, lambda result: _automatic(result).scores),
        "given boxes, best label": (boxed, _best_of_box_run),
        "one automatic box, best-matching label": (found, _best_of_automatic),
    }
    heads = _counted(found)
    modalities = [*_by_modality(found), MACRO]
    lines = []
    for name, (group, take) in takes.items():
        means = _means(group, take)
        lines.append([name, *(f"{means[m].dsc:.3f}" if m in means else "-" for m in modalities)])
    for name, paper in (("manual", PAPER_MANUAL), ("automatic", PAPER_AUTOMATIC)):
        cells = [f"{paper[m]:.2f}" if m in paper else "-" for m in modalities[:-1]]
        lines.append(
            [f"the paper's, {name}, on its own data", *cells, f"{np.mean(list(paper.values())):.2f}"]
        )
    return markdown(["DSC", *heads], lines)


def interactive_scores(results: Sequence[CaseResult]) -> dict[str, Any]:
    """The tables' figures for a weights' card, rounded to four places.

    Returns:
        "cases": number by modality and of all. "DSC" and "NSD": by run and modality. All of it by how the
        cases began: "from boxes", "from clicks alone".
    """
    return {
        title: {
            "cases": {m: len(group) for m, group in _by_modality(begun).items()} | {MACRO: len(begun)},
            **{
                metric: {
                    run: {m: round(_value(scores, metric), 4) for m, scores in means.items()}
                    for run, means in runs_means(begun).items()
                }
                for metric in METRICS
            },
        }
        for title, begun in _by_start(results).items()
    }


def _value(scores: Scores, metric: Metric) -> float:
    return scores.dsc if metric == "DSC" else scores.nsd


def _box_scores(result: CaseResult) -> Scores:
    assert result.box_run is not None
    return result.box_run.scores


def _click_scores(index: int, result: CaseResult) -> Scores:
    return result.click_runs[index].scores


def _automatic(result: CaseResult) -> AutomaticRun:
    assert result.automatic is not None
    return result.automatic


def _best_of_automatic(result: CaseResult) -> Scores:
    # Of the best label only DSC is known, and only DSC is shown.
    return Scores(_automatic(result).best_dsc, 0.0)


def _best_of_box_run(result: CaseResult) -> Scores:
    return Scores(max((row.scores[MODEL] for row in result.rows), default=0.0), 0.0)


def _means(results: Sequence[CaseResult], take: Take) -> dict[str, Scores]:
    means = {}
    for modality, group in _by_modality(results).items():
        means[modality] = _mean([take(result) for result in group])
    if means:
        means[MACRO] = _mean(list(means.values()))
    return means


def _mean(scores: Sequence[Scores]) -> Scores:
    return Scores(float(np.mean([s.dsc for s in scores])), float(np.mean([s.nsd for s in scores])))


def _by_start(results: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    groups = {
        "from boxes": [result for result in results if result.box_run is not None],
        "from clicks alone": [result for result in results if result.box_run is None],
    }
    return {title: group for title, group in groups.items() if group}


def _by_modality(results: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    groups: dict[str, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(result.modality, []).append(result)
    return dict(sorted(groups.items()))


def _counted(results: Sequence[CaseResult]) -> list[str]:
    counts = {m: len(group) for m, group in _by_modality(results).items()} | {MACRO: len(results)}
    return [f"{m} ({n} case{'s' if n > 1 else ''})" for m, n in counts.items()]
