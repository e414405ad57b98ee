from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden import StandIn

from lexor.errors import CaseError
from lexor.evaluation.boxes import METHODS, evaluate_boxes
from lexor.evaluation.tables import modality_means
from lexor.inference.predictor import Prediction
from lexor.inference.targets import PromptMode
from lexor.io.case import Case, write_case


class Oracle(StandIn):
    """Answers with the filled boxes."""

    def segment(self, case: Case, prompt: PromptMode = "given") -> Prediction:
        labels = np.zeros(case.volume.shape, np.uint8)
        for index, box in enumerate(case.boxes, start=1):
            labels[box.slices] = index
        return Prediction(labels, (), (), 0.5)


def test_scores(tmp_path: Path, ball_case: Case) -> None:
    truth = np.zeros(ball_case.volume.shape, np.uint8)
    truth[ball_case.boxes[0].slices] = 1
    for name in ("CT_x", "MR_y"):
        write_case(tmp_path / f"{name}.npz", replace(ball_case, name=name), labels=truth)
    rows = list(evaluate_boxes(sorted(tmp_path.glob("*.npz")), Oracle()))
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


def test_a_case_without_spacing_is_named(tmp_path: Path, ball_case: Case) -> None:
    write_case(
        tmp_path / "CT_x.npz", replace(ball_case, spacing=None), labels=np.ones(ball_case.volume.shape, int)
    )
    with pytest.raises(CaseError, match=r"CT_x\.npz: spacing"):
        list(evaluate_boxes([tmp_path / "CT_x.npz"], Oracle()))


def test_a_case_without_boxes_is_named(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "CT_none.npz", replace(ball_case, boxes=(), clicks=()))
    with pytest.raises(CaseError, match=r"CT_none\.npz: boxes"):
        list(evaluate_boxes([tmp_path / "CT_none.npz"], Oracle()))


def test_an_unreadable_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "CT_torn.npz").write_bytes(b"PK")
    with pytest.raises(CaseError, match=r"CT_torn\.npz"):
        list(evaluate_boxes([tmp_path / "CT_torn.npz"], Oracle()))


@pytest.mark.slow
def test_the_baselines_of_real_volumes_are_the_published_ones(shared_data: Path) -> None:
    """../shared/data/README.md gives the three baselines on val: the law and the scores are the same here."""
    rows = list(evaluate_boxes(sorted((shared_data / "val").glob("*.npz")), Oracle()))
    means = modality_means(rows)
    assert len(rows) == 123
    assert means["filled box"]["macro"] == pytest.approx(0.578, abs=0.001)
    assert means["inscribed ellipsoid"]["macro"] == pytest.approx(0.706, abs=0.001)
    # That page does not say which side of the threshold it takes.
    assert means["Otsu in the box"]["macro"] == pytest.approx(0.571, abs=0.01)
    assert means["Lexor"]["macro"] == pytest.approx(means["filled box"]["macro"], abs=0.02)
