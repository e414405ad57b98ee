from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from lexor.geometry import Box
from lexor.inference.outcome import Outcome
from lexor.inference.predictor import Prediction
from lexor.inference.targets import resolve_targets
from lexor.io.case import read_case, read_labels
from lexor.viewing.demo import copy_cases, draw_demo

NAMES = ["CT_sarcoma", "MR_deep_nuclei", "PET_sarcoma"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return copy_cases(tmp_path_factory.mktemp("demo"))


def test_three_small_real_cases_come_with_their_licences(cases: list[Path]) -> None:
    assert [path.stem for path in cases] == NAMES
    licences = (cases[0].parent / "LICENCES.md").read_text("utf-8")
    for path in cases:
        assert path.stat().st_size < 700_000
        (line,) = [row for row in licences.splitlines() if path.name in row]
        assert "CC BY" in line


def test_every_label_has_its_box(cases: list[Path]) -> None:
    for path in cases:
        case, truth = read_case(path), read_labels(path)
        assert case.warnings == ()
        assert case.boxes == tuple(Box.measured(truth == i) for i in range(1, int(truth.max()) + 1))


def test_the_picture_shows_the_answers_in_colour(cases: list[Path], tmp_path: Path) -> None:
    def outcome(path: Path, answered: bool) -> Outcome:
        case = read_case(path)
        labels = read_labels(path) if answered else np.zeros(case.volume.shape, np.uint8)
        targets, _ = resolve_targets(replace(case, boxes=case.boxes[:1]))
        return Outcome(path, path, case, Prediction(labels, tuple(targets), (), 0.0), None, 0.0)

    def colours(answered: bool) -> np.ndarray:
        """Of each third of the picture: how many pixels are not grey."""
        rows = [outcome(path, answered) for path in cases]
        picture = matplotlib.image.imread(draw_demo(rows, rows, tmp_path / "preview.png"))[..., :3]
        coloured = np.ptp(picture, axis=2) > 0.1
        return np.array([part.sum() for part in np.array_split(coloured, 3, axis=1)])

    without, with_answers = colours(False), colours(True)
    assert without[0] > 100, "the boxes"
    assert with_answers[0] == without[0]
    assert (with_answers[1:] > without[1:] + 5000).all()
