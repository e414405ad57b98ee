"""Tables of the interactive protocol: means over cases, as the challenge takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np

from lexor.evaluation.automatic import FOUND_DSC, PAPER_AUTOMATIC, PAPER_MANUAL, AutomaticRun
from lexor.evaluation.boxes import MODEL
from lexor.evaluation.results import CaseResult
from lexor.evaluation.scores import Scores
from lexor.evaluation.tables import METRICS, Metric, markdown

MACRO = "macro"
# Bounds of the overlap that the model expects of an automatic mask, of the lines that tell whether to believe it.
CONFIDENCES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# A mask with a smaller DSC with every label has found something else.
MISSED_DSC: Final = 0.1
_AUTOMATIC: Final = {"auto": "one automatic box", "intensity": "Algorithm 1's box"}
Take = Callable[[CaseResult], Scores]
# A line of a table: its name, the cases it is about, and their values.
Line = tuple[str, list[CaseResult], Callable[[CaseResult], float]]


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
        By "box" (if there is one), "1 click", ..., "AUC" (of two click runs or more), "Final".
    """
    if not results:
        return {}
    takes: dict[str, Take] = {} if results[0].box_run is None else {"box": _box_scores}
    for index in range(len(results[0].click_runs)):
        takes[f"{index + 1} click{'s' if index else ''}"] = partial(_click_scores, index)
    if len(results[0].click_runs) > 1:
        takes["AUC"] = _areas
    takes["Final"] = lambda result: result.final
    return {name: _means(results, take) for name, take in takes.items()}


def automatic_tables(results: Sequence[CaseResult]) -> list[str]:
    """Markdown: given and automatic boxes by modality, means over cases: DSC beside the paper's; the rest; and where
    the model was asked, `reliability_table`.

    Args:
        results: of one mode of automatic boxes; at least one has such a run.
    """
    found = [result for result in results if result.automatic is not None]
    boxed = [result for result in found if result.box_run is not None]
    run = _automatic(found[0])
    one, several = _AUTOMATIC[run.mode], f"best of the first {run.top}"
    scores: list[Line] = [
        ("given boxes, mean over labels", boxed, lambda result: _box_scores(result).dsc),
        (f"{one}, mean over labels", found, lambda result: _automatic(result).scores.dsc),
        ("given boxes, best label", boxed, _best_of_box_run),
        (f"{one}, best-matching label", found, lambda result: _automatic(result).best_dsc),
    ]
    reached: list[Line] = [
        (f"DSC > {FOUND_DSC}, {one}", found, lambda result: _automatic(result).best_dsc > FOUND_DSC)
    ]
    if run.top > 1:
        scores.append((several, found, lambda result: _automatic(result).top_dsc))
        reached.append((f"DSC > {FOUND_DSC}, {several}", found, lambda r: _automatic(r).top_dsc > FOUND_DSC))
    overlaps: list[Line] = [
        (
            "IoU of given box and label's",
            [result for result in found if _automatic(result).given_overlap is not None],
            lambda result: _automatic(result).given_overlap or 0.0,
        ),
        (f"IoU of {one} and label's", found, lambda result: _automatic(result).box_overlap),
        (
            "IoU of mask and label, as expected",
            [result for result in found if _automatic(result).confidence is not None],
            lambda result: _automatic(result).confidence or 0.0,
        ),
    ]
    papers = [
        [
            f"the paper's, {name}, on its own data",
            *(f"{paper[m]:.2f}" if m in paper else "-" for m in _by_modality(found)),
            f"{np.mean(list(paper.values())):.2f}",
        ]
        for name, paper in (("manual", PAPER_MANUAL), ("automatic", PAPER_AUTOMATIC))
    ]
    counted = _counted(found)
    tables = [
        markdown(["DSC", *counted], [_line(found, line) for line in scores] + papers),
        markdown(["share of cases, overlap", *counted], [_line(found, line) for line in reached + overlaps]),
    ]
    if any(_automatic(result).confidence is not None for result in found):
        tables.append(reliability_table(found))
    return tables


def reliability_table(results: Sequence[CaseResult]) -> str:
    """Markdown: what automatic masks are worth by the overlap that the model expected of them.

    A line per bin of `CONFIDENCES` that occurs, bounds below included: number of cases, mean DSC with the
    best-matching label, and the share that is under `MISSED_DSC`.

    Args:
        results: those without an expected overlap are left out.
    """
    found = [
        (result.automatic.confidence, result.automatic.best_dsc)
        for result in results
        if result.automatic is not None and result.automatic.confidence is not None
    ]
    lines = []
    for low, high in pairwise(CONFIDENCES):
        dsc = [dsc for sure, dsc in found if low <= sure < high or sure == high == CONFIDENCES[-1]]
        if dsc:
            missed = np.mean([value < MISSED_DSC for value in dsc])
            lines.append([f"{low:.1f} to {high:.1f}", str(len(dsc)), f"{np.mean(dsc):.3f}", f"{missed:.3f}"])
    return markdown(["IoU expected", "cases", "DSC", f"DSC < {MISSED_DSC}"], lines)


def _line(all_of: Sequence[CaseResult], line: Line) -> list[str]:
    """The cells of a line: means over its cases by the modalities of all, and over those."""
    name, group, take = line
    means = {m: float(np.mean([take(result) for result in of])) for m, of in _by_modality(group).items()}
    macro = f"{np.mean(list(means.values())):.3f}" if means else "-"
    return [name, *(f"{means[m]:.3f}" if m in means else "-" for m in _by_modality(all_of)), macro]


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


def _areas(result: CaseResult) -> Scores:
    assert result.auc is not None
    return result.auc


def _automatic(result: CaseResult) -> AutomaticRun:
    assert result.automatic is not None
    return result.automatic


def _best_of_box_run(result: CaseResult) -> float:
    return max((row.scores[MODEL] for row in result.rows), default=0.0)


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
