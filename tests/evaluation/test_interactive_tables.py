from dataclasses import replace

import pytest

from lexor.evaluation.automatic import AutomaticRun
from lexor.evaluation.boxes import METHODS, Row
from lexor.evaluation.interactive_tables import (
    automatic_tables,
    interactive_scores,
    reliability_table,
    runs_means,
    runs_tables,
)
from lexor.evaluation.results import CaseResult
from lexor.evaluation.rounds import Run
from lexor.evaluation.scores import Scores


def result(case: str, box: float | None, *clicks: float, automatic: float | None = None) -> CaseResult:
    """NSD is half of DSC; the box run's two rows have half of its DSC and one and a half times of it."""
    modality = case.split("_")[0]

    def run(dsc: float) -> Run:
        return Run(Scores(dsc, dsc / 2), 1.0)

    rows = [
        Row(case, modality, case, label, 9, (), dict.fromkeys(METHODS, dsc), dict.fromkeys(METHODS, dsc))
        for label, dsc in ((1, (box or 0) / 2), (2, (box or 0) * 1.5))
    ]
    return CaseResult(
        case,
        modality,
        case,
        2,
        None if box is None else run(box),
        tuple(run(dsc) for dsc in clicks),
        None if automatic is None else AutomaticRun(Scores(automatic / 2, 0), automatic, 1, 1.0),
        tuple(rows) if box is not None else (),
    )


BOXED = [
    result("CT_a", 0.4, 0.5, 0.6, automatic=0.7),
    result("CT_b", 0.6, 0.7, 0.8, automatic=0.3),
    result("US_a", 0.1, 0.2, 0.3, automatic=0.2),
]
BARE = [result("US_b", None, 0.3, 0.9)]


def test_means_over_cases_and_over_modalities() -> None:
    means = runs_means(BOXED)
    assert list(means) == ["box", "1 click", "2 clicks", "AUC", "Final"]
    assert means["box"]["CT"] == Scores(pytest.approx(0.5), pytest.approx(0.25))
    assert means["box"]["macro"].dsc == pytest.approx(0.3)
    assert means["AUC"]["CT"].dsc == pytest.approx((0.55 + 0.75) / 2)
    assert means["Final"]["macro"].nsd == pytest.approx((0.35 + 0.15) / 2)
    assert list(runs_means(BARE)) == ["1 click", "2 clicks", "AUC", "Final"]
    assert runs_means([]) == {}
    one_click = [replace(found, click_runs=found.click_runs[:1]) for found in BOXED]
    assert list(runs_means(one_click)) == ["box", "1 click", "Final"]


def test_tables_of_runs() -> None:
    dsc, nsd, bare, _ = runs_tables([*BOXED, *BARE])
    assert dsc.splitlines() == [
        "| DSC, from boxes | CT (2 cases) | US (1 case) | macro (3 cases) |",
        "|---|---|---|---|",
        "| box | 0.500 | 0.100 | 0.300 |",
        "| 1 click | 0.600 | 0.200 | 0.400 |",
        "| 2 clicks | 0.700 | 0.300 | 0.500 |",
        "| AUC | 0.650 | 0.250 | 0.450 |",
        "| Final | 0.700 | 0.300 | 0.500 |",
    ]
    assert nsd.splitlines()[2] == "| box | 0.250 | 0.050 | 0.150 |"
    assert bare.splitlines()[0] == "| DSC, from clicks alone | US (1 case) | macro (1 case) |"
    assert bare.splitlines()[2] == "| 1 click | 0.300 | 0.300 |"
    assert runs_tables([replace(found, click_runs=()) for found in BOXED]) == []


def test_automatic_boxes_beside_the_papers() -> None:
    bare = replace(BARE[0], automatic=AutomaticRun(Scores(0.1, 0.0), 0.4, 1, 1.0))
    scores, _ = automatic_tables([*BOXED, bare])
    assert scores.splitlines() == [
        "| DSC | CT (2 cases) | US (2 cases) | macro (4 cases) |",
        "|---|---|---|---|",
        "| given boxes, mean over labels | 0.500 | 0.100 | 0.300 |",
        "| one automatic box, mean over labels | 0.250 | 0.100 | 0.175 |",
        "| given boxes, best label | 0.750 | 0.150 | 0.450 |",
        "| one automatic box, best-matching label | 0.500 | 0.300 | 0.400 |",
        "| the paper's, manual, on its own data | 0.68 | 0.68 | 0.56 |",
        "| the paper's, automatic, on its own data | 0.73 | 0.31 | 0.52 |",
    ]


def test_what_is_reached_and_how_boxes_overlap() -> None:
    def run(dsc: float, top_dsc: float, overlap: float, confidence: float | None) -> AutomaticRun:
        return AutomaticRun(
            Scores(dsc, 0),
            dsc,
            1,
            1.0,
            "auto",
            overlap,
            confidence,
            top=5,
            top_dsc=top_dsc,
            given_overlap=0.75,
        )

    runs = [run(0.6, 0.7, 0.5, 0.9), run(0.2, 0.8, 0.25, 0.7), run(0.5, 0.5, 0.125, None)]
    results = [replace(result, automatic=one) for result, one in zip(BOXED, runs, strict=True)]
    scores, others, reliability = automatic_tables(results)
    assert reliability == reliability_table(results)
    assert "| best of the first 5 | 0.750 | 0.500 | 0.625 |" in scores
    assert others.splitlines() == [
        "| share of cases, overlap | CT (2 cases) | US (1 case) | macro (3 cases) |",
        "|---|---|---|---|",
        "| DSC > 0.5, one automatic box | 0.500 | 0.000 | 0.250 |",
        "| DSC > 0.5, best of the first 5 | 1.000 | 0.000 | 0.500 |",
        "| IoU of given box and label's | 0.750 | 0.750 | 0.750 |",
        "| IoU of one automatic box and label's | 0.375 | 0.125 | 0.250 |",
        "| IoU of mask and label, as expected | 0.800 | - | 0.800 |",
    ]
    paper = [
        replace(result, automatic=replace(one, mode="intensity"))
        for result, one in zip(BOXED, runs, strict=True)
    ]
    assert "| Algorithm 1's box, best-matching label | 0.400 | 0.500 | 0.450 |" in automatic_tables(paper)[0]


def test_what_the_models_confidence_is_worth() -> None:
    pairs = [
        (0.2, 0.05),
        (0.7, 0.09),
        (0.75, 0.1),
        (0.79, 0.9),
        (0.8, 0.5),
        (1.0, 0.95),
        (0.9, 0.85),
        (None, 0.0),
    ]
    runs = [AutomaticRun(Scores(0, 0), dsc, 1, 1.0, confidence=sure) for sure, dsc in pairs]
    assert reliability_table([replace(BARE[0], automatic=run) for run in runs]).splitlines() == [
        "| IoU expected | cases | DSC | DSC < 0.1 |",
        "|---|---|---|---|",
        "| 0.0 to 0.5 | 1 | 0.050 | 1.000 |",
        "| 0.7 to 0.8 | 3 | 0.363 | 0.333 |",
        "| 0.8 to 0.9 | 1 | 0.500 | 0.000 |",
        "| 0.9 to 1.0 | 2 | 0.900 | 0.000 |",
    ]


def test_scores_for_a_card() -> None:
    scores = interactive_scores([*BOXED, *BARE])
    assert list(scores) == ["from boxes", "from clicks alone"]
    assert scores["from boxes"]["cases"] == {"CT": 2, "US": 1, "macro": 3}
    assert scores["from boxes"]["DSC"]["2 clicks"] == {"CT": 0.7, "US": 0.3, "macro": 0.5}
    assert scores["from clicks alone"]["NSD"]["Final"] == {"US": 0.45, "macro": 0.45}
