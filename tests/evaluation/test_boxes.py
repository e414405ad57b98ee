from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lexor.case import Box, Case, CaseError, write_case
from lexor.evaluation.boxes import METHODS, choose_cases, evaluate_boxes, loosen, loosened_cases, source_of
from lexor.evaluation.tables import modality_means
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


def test_scores(tmp_path: Path, ball_case: Case) -> None:
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
    assert rows[0].nsd["Lexor"] == 1
    # The ellipsoid leaves the box's corners, more than 2 mm away, and its faces' middles are near.
    assert 0.4 < rows[0].nsd["inscribed ellipsoid"] < 0.9
    assert set(rows[0].scores) == set(rows[0].nsd) == set(METHODS)
    assert rows[1].source == "MR_y"
    assert rows[1].voxels == 15 * 19 * 19
    assert rows[1].strata == ("none of these",)
    assert "DSC 1.000" in results[0].summary()


def test_sources_are_two_tokens_of_the_name() -> None:
    assert source_of("CT_openkbp_pt_201") == "CT_openkbp"
    assert source_of("PET_fnndsc_QIN-HN_rsna2") == "PET_fnndsc"
    assert source_of("CT") == "CT"


def test_chosen_cases() -> None:
    paths = [Path(f"{source}_{i}.npz") for i in range(9) for source in ("MR_b", "CT_a", "CT_c")]
    assert choose_cases(paths) == sorted(paths)
    assert choose_cases(paths, ["CT_c"]) == [Path(f"CT_c_{i}.npz") for i in range(9)]
    few = choose_cases(paths, limit=3)
    assert [source_of(path.stem) for path in few] == ["CT_a"] * 3 + ["CT_c"] * 3 + ["MR_b"] * 3
    assert choose_cases(paths[::-1], ["MR_b"], limit=3) == few[6:]
    assert set(few) < set(choose_cases(paths, limit=5))
    assert choose_cases(paths, limit=3, seed=1) != few
    with pytest.raises(CaseError, match="'CT_x' has no case here; there are CT_a, CT_c, MR_b"):
        choose_cases(paths, ["CT_x"])


def test_a_case_has_the_same_boxes_whatever_else_is_chosen(tmp_path: Path, ball_case: Case) -> None:
    big = replace(ball_case, volume=np.zeros((24, 256, 256), np.uint8), boxes=ball_case.boxes * 3)
    paths = [tmp_path / f"CT_{letter}.npz" for letter in "abc"]
    for path in paths:
        write_case(path, replace(big, name=path.stem))
    everything = {path: case.boxes for path, case in loosened_cases(paths)}
    ((path, case),) = loosened_cases(paths, chosen=[paths[2]])
    assert path == paths[2]
    assert case.boxes == everything[path]
    assert case.boxes != everything[paths[0]]


def test_a_case_without_spacing_is_named(tmp_path: Path, ball_case: Case) -> None:
    write_case(
        tmp_path / "CT_x.npz", replace(ball_case, spacing=None), labels=np.ones(ball_case.volume.shape, int)
    )
    with pytest.raises(CaseError, match=r"CT_x\.npz: spacing"):
        list(evaluate_boxes([tmp_path / "CT_x.npz"], Oracle()))


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
