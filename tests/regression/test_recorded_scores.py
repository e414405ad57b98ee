"""A floor and a ceiling under the scores that settings and weights were chosen by."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from phantoms import PHANTOMS
from recorded import CASES, case_path, changes, read_scores, reproducible, score

from lexor.evaluation.tables import markdown
from lexor.inference.predictor import Predictor

TOLERANCE = 0.01


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(device="cpu")


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_recorded(
    name: str, predictor: Predictor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name not in PHANTOMS:
        request.getfixturevalue("shared_data")
    changed = changes(name, read_scores()[name], score(case_path(name, tmp_path), predictor), TOLERANCE)
    if changed:
        table = markdown(["case", "run", "recorded", "now"], changed)
        pytest.fail(f"scores moved; if that is wanted, run `make record`\n{table}", pytrace=False)


def test_every_case_is_recorded_with_each_of_its_runs() -> None:
    recorded = read_scores()
    assert set(recorded) == set(CASES)
    runs = {run for scores in recorded.values() for run in scores}
    boxed = {"box", "box, 1 click", "box, 3 clicks", "box, 5 clicks"}
    assert runs == boxed | {"alone, 1 click", "alone, 3 clicks", "automatic"}


def test_a_change_is_one_beyond_the_tolerance_in_either_direction() -> None:
    old = {"box": 0.8, "automatic": 0.5, "gone": 0.1}
    new = {"box": 0.7899, "automatic": 0.5099, "new": 0.2}
    assert changes("CT_a", old, new, 0.01) == [
        ["CT_a", "box", "0.8000", "0.7899"],
        ["CT_a", "gone", "0.1000", "-"],
        ["CT_a", "new", "-", "0.2000"],
    ]
    assert changes("CT_a", {"box": 0.7}, {"box": 0.72}, 0.01) == [["CT_a", "box", "0.7000", "0.7200"]]


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with reproducible():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
