from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lexor.case import Box, Case, CaseError, write_case
from lexor.evaluation.boxes import METHODS, evaluate_boxes, loosen, loosened_cases
from lexor.evaluation.tables import modality_means, modality_table, write_rows
from lexor.inference.predictor import Prediction


class Oracle:
    """Answers with the filled boxes."""

    def segment(self, case: Case) -> Prediction:
        labels = np.zeros(case.volume.shape, np.uint8)
        for index, box in enumerate(case.boxes, start=1):
            labels[box.slices] = index
        return Prediction(labels, (), (), 0.5)


def test_loosening_depends_on_the_axis_and_stays_inside() -> None:
    box = Box((1, 10, 250), (4, 20, 300), 2)
    loose = loosen(box, (8, 256, 512), 5)
    assert loose.lower == (1, 5, 240)
    assert loose.upper == (4, 25, 310)
    assert loosen(Box((0, 2, 2), (1, 9, 9), 0), (1, 512, 10), 5).lower == (0, 0, 2)


def test_one_stream_of_draws_over_sorted_files(tmp_path: Path, ball_case: Case) -> None:
    big = replace(ball_case, volume=np.zeros((24, 256, 256), np.uint8), boxes=ball_case.boxes * 3)
    for name in ("CT_b", "CT_a"):
        write_case(tmp_path / f"{name}.npz", replace(big, name=name))
    draws = np.random.default_rng(7).integers(0, 6, 6)
    found = [
        13 - box.lower[1]
        for _, case in loosened_cases([tmp_path / "CT_b.npz", tmp_path / "CT_a.npz"])
        for box in case.boxes
    ]
    rng = np.random.default_rng(7)
    assert found == [int(rng.integers(0, 6)) for _ in range(6)]
    assert len(draws) == len(found)


def test_scores_and_table(tmp_path: Path, ball_case: Case) -> None:
    truth = np.zeros(ball_case.volume.shape, np.uint8)
    truth[ball_case.boxes[0].slices] = 1
    for name in ("CT_x", "MR_y"):
        write_case(tmp_path / f"{name}.npz", replace(ball_case, name=name), labels=truth)
    results = list(evaluate_boxes(sorted(tmp_path.glob("*.npz")), Oracle()))
    rows = [row for result in results for row in result.rows]
    assert [row.modality for row in rows] == ["CT", "MR"]
    # The volume is smaller than 51 pixels: int(5 * 48 / 256) is 0, boxes stay tight.
    assert rows[0].scores["Lexor"] == 1
    assert rows[0].scores["filled box"] == 1
    assert rows[0].scores["inscribed ellipsoid"] == pytest.approx(2 * 0.5236 / 1.5236, abs=0.02)
    means = modality_means(rows)
    assert means["Lexor"]["macro"] == 1
    table = modality_table(rows)
    assert table.splitlines()[0] == "| DSC | CT (n=1) | MR (n=1) | macro (n=2) |"
    assert len(table.splitlines()) == 2 + len(METHODS)
    write_rows(tmp_path / "rows.csv", rows)
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0] == "case,modality,label,voxels,filled box,inscribed ellipsoid,Otsu in the box,Lexor"
    assert lines[1].startswith("CT_x,CT,1,5415,1.000000,")
    assert "DSC 1.000" in results[0].summary()


def test_a_case_without_boxes_is_named(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "CT_none.npz", replace(ball_case, boxes=(), clicks=()))
    with pytest.raises(CaseError, match="CT_none"):
        list(loosened_cases([tmp_path / "CT_none.npz"]))


def test_the_baselines_of_real_volumes_are_the_published_ones(shared_data: Path) -> None:
    """../shared/data/README.md gives the three baselines on val: the law and the scores are the same here."""
    rows = [
        row
        for result in evaluate_boxes(sorted((shared_data / "val").glob("*.npz")), Oracle())
        for row in result.rows
    ]
    means = modality_means(rows)
    assert len(rows) == 123
    assert means["filled box"]["macro"] == pytest.approx(0.578, abs=0.001)
    assert means["inscribed ellipsoid"]["macro"] == pytest.approx(0.706, abs=0.001)
    # That page does not say which side of the threshold it takes.
    assert means["Otsu in the box"]["macro"] == pytest.approx(0.571, abs=0.01)
    assert means["Lexor"]["macro"] == pytest.approx(means["filled box"]["macro"], abs=0.02)
