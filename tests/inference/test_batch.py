from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lexor.case import Box, Case, CaseError, write_case
from lexor.inference.batch import Outcome, find_cases, predict_files
from lexor.inference.predictor import Prediction, Predictor
from lexor.inference.targets import AutomaticBox, box_target, resolve_targets


class Fragile:
    """Answers every case but those whose name says otherwise."""

    def segment(self, case: Case, prompt: str, top: int, probabilities: bool) -> Prediction:
        if "boom" in case.name:
            raise KeyError("a bug")
        labels = np.zeros(case.volume.shape, np.uint8)
        return Prediction(labels, tuple(resolve_targets(case)[0]), (), 0.0)


def test_a_bug_in_one_case_does_not_cost_the_others(tmp_path: Path, ball_case: Case) -> None:
    outputs = tmp_path / "out"
    outputs.mkdir()
    for name in ("CT_a", "CT_boom", "CT_c"):
        write_case(tmp_path / f"{name}.npz", replace(ball_case, name=name))
        (outputs / f"{name}.npz").write_bytes(b"stale")
    outcomes = list(predict_files(find_cases(tmp_path), outputs, Fragile()))
    assert [o.error is None for o in outcomes] == [True, False, True]
    assert "CT_boom.npz: FAILED: " in outcomes[1].summary()
    assert "KeyError" in outcomes[1].summary()
    assert sorted(p.name for p in outputs.iterdir()) == ["CT_a.npz", "CT_c.npz"]
    assert np.load(outputs / "CT_c.npz")["segs"].shape == ball_case.volume.shape


def test_probabilities_beside_the_labels(tmp_path: Path, ball_case: Case) -> None:
    other = Box((2, 36, 2), (8, 44, 12), 5)
    write_case(tmp_path / "CT_a.npz", replace(ball_case, boxes=(ball_case.boxes[0], other), clicks=()))
    predictor = Predictor(device="cpu")
    [plain] = predict_files(find_cases(tmp_path), tmp_path / "plain", predictor)
    [outcome] = predict_files(find_cases(tmp_path), tmp_path / "out", predictor, probabilities=True)
    assert plain.error is outcome.error is None
    assert np.load(plain.output).files == ["segs"]
    with np.load(outcome.output) as answer:
        assert answer.files == ["segs", "probabilities"]
        np.testing.assert_array_equal(answer["segs"], np.load(plain.output)["segs"])
        maps = answer["probabilities"]
    assert (maps.dtype, maps.shape) == (np.float16, (2, *ball_case.volume.shape))
    assert outcome.prediction is not None
    for index in (1, 2):
        expected = outcome.prediction.probability(index).astype(np.float16)
        np.testing.assert_array_equal(maps[index - 1], expected)
    assert maps[0][12, 22, 25] > 0.9


def test_answers_never_replace_their_cases(tmp_path: Path, ball_case: Case) -> None:
    (tmp_path / "linked").symlink_to(tmp_path)
    for name in ("CT_a", "CT_boom"):
        write_case(tmp_path / f"{name}.npz", replace(ball_case, name=name))
    before = {path: path.read_bytes() for path in find_cases(tmp_path)}
    for outputs in (tmp_path, tmp_path / "linked"):
        with pytest.raises(CaseError, match="the answers would replace the cases; give another folder"):
            list(predict_files(find_cases(tmp_path), outputs, Fragile()))
    assert {path: path.read_bytes() for path in find_cases(tmp_path)} == before


def test_an_answers_place_that_is_taken_does_not_stop_the_others(tmp_path: Path, ball_case: Case) -> None:
    for name in ("CT_a", "CT_c"):
        write_case(tmp_path / f"{name}.npz", ball_case)
    (tmp_path / "out" / "CT_a.npz").mkdir(parents=True)
    outcomes = list(predict_files(find_cases(tmp_path), tmp_path / "out", Fragile()))
    assert [o.error is None for o in outcomes] == [False, True]
    assert "what is at its place stays" in outcomes[0].summary()


def test_the_summary_says_what_was_found_and_how_sure_it_is(ball_case: Case) -> None:
    box = Box((1, 2, 3), (4, 6, 8), 2)
    targets = (
        box_target(1, AutomaticBox(box, "raised", 0.814)),
        box_target(2, AutomaticBox(box, "intensity")),
    )
    prediction = Prediction(np.zeros((2, 3, 4), np.uint8), targets, (), 0.0)
    outcome = Outcome(Path("US_a.npz"), Path("out/US_a.npz"), ball_case, prediction, None, 0.5)
    assert outcome.summary() == (
        "US_a.npz: 2x3x4, prompts: 2 automatic (raised, 81% sure; intensity), 2 classes, 0.5 s"
    )


def test_files_that_vanish_or_hide(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "CT_a.npz", ball_case)
    (tmp_path / ".CT_partial.npz").write_bytes(b"")
    assert find_cases(tmp_path) == [tmp_path / "CT_a.npz"]
    assert find_cases(tmp_path / "CT_a.npz") == [tmp_path / "CT_a.npz"]
    with pytest.raises(CaseError, match="no such file"):
        find_cases(tmp_path / "none")
    gone = list(predict_files([tmp_path / "gone.npz"], tmp_path / "out", Fragile()))
    assert gone[0].error is not None
