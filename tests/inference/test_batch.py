import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.inference.batch import find_cases, predict_files, unread_folders
from lexor.inference.outcome import Outcome
from lexor.inference.predictor import Prediction, Predictor
from lexor.inference.targets import AutomaticBox, Target, box_target, resolve_targets
from lexor.io.case import Case, write_case


class Fragile:
    """Answers every case but those whose name says otherwise."""

    def segment(self, case: Case, prompt: str, top: int, *, strict: bool, probabilities: bool) -> Prediction:
        if "boom" in case.name:
            raise KeyError("a bug")
        labels = np.zeros(case.volume.shape, np.uint8)
        return Prediction(labels, tuple(resolve_targets(case)[0]), (), 0.0)


def test_a_bug_in_one_case_does_not_cost_the_others(tmp_path: Path, ball_case: Case) -> None:
    outputs = tmp_path / "out"
    outputs.mkdir()
    for name in ("CT_a", "CT_boom", "CT_c"):
        write_case(tmp_path / f"{name}.npz", replace(ball_case, name=name))
        np.savez(outputs / f"{name}.npz", segs=np.zeros((1, 1, 1), np.uint8))
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
    assert "what is there is no answer ('segs' alone), and stays; move it away" in outcomes[0].summary()
    assert (tmp_path / "out" / "CT_a.npz").is_dir()


def test_what_appears_at_an_answers_place_during_the_run_stays(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "CT_a.npz", ball_case)
    write_case(tmp_path / "CT_boom.npz", ball_case)
    outputs = tmp_path / "out"

    class Slow(Fragile):
        def segment(
            self, case: Case, prompt: str, top: int, *, strict: bool, probabilities: bool
        ) -> Prediction:
            np.savez(outputs / f"{case.name}.npz", gts=case.volume)
            return super().segment(case, prompt, top, strict=strict, probabilities=probabilities)

    outcomes = list(predict_files(find_cases(tmp_path), outputs, Slow()))
    assert [o.error is None for o in outcomes] == [False, False]
    assert "what is there is no answer" in outcomes[0].summary()
    for name in ("CT_a", "CT_boom"):
        assert np.load(outputs / f"{name}.npz").files == ["gts"]


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


def test_a_summary_of_many_boxes_is_a_line_that_can_be_read(ball_case: Case) -> None:
    targets = tuple(target(i, "automatic") for i in range(1, 301))
    prediction = Prediction(np.zeros((2, 3, 4), np.uint8), targets, (), 0.0)
    line = Outcome(Path("US_a.npz"), Path("out/US_a.npz"), ball_case, prediction, None, 0.5).summary()
    assert "300 automatic (band, 77% sure; " in line
    assert "; ...), 300 classes" in line
    assert len(line) < 300


def target(index: int, kind: str, clicks: int = 0) -> Target:
    """One that was given a box, or for which one was found, or that only clicks or the last answer point at."""
    box = Box((1, 2, 3), (4, 6, 8), 2)
    points = Clicks(((1, 2, 3),) * clicks, (True,) * clicks)
    found = replace(box_target(index, AutomaticBox(box, "band", 0.77)), clicks=points)
    if kind == "stand-in":
        return replace(found, stand_in=True)
    if kind == "automatic":
        return found
    previous = np.zeros((2, 3, 4), np.uint8) if kind == "previous" else None
    return replace(found, found=None, source=kind, box=box if kind == "box" else None, previous=previous)


@pytest.mark.parametrize(
    ("kinds", "clicks", "summary"),
    [
        (["box"], 0, "1 box"),
        (["box", "box"], 5, "2 boxes + 10 clicks"),
        (["automatic", "box"], 0, "1 automatic (band, 77% sure), 1 box"),
        (["box", "stand-in"], 0, "1 box, 1 automatic in place of an unreadable prompt (band, 77% sure)"),
        (
            ["stand-in", "stand-in"],
            0,
            "2 automatic in place of unreadable prompts (band, 77% sure; band, 77% sure)",
        ),
        (["clicks"], 1, "1 click"),
        (["clicks", "clicks"], 2, "4 clicks"),
        (["box", "clicks"], 1, "1 box + 2 clicks"),
        (["previous"], 0, "previous labels"),
        (["previous", "box"], 1, "1 box + 2 clicks + previous labels"),
    ],
)
def test_the_summary_names_every_prompt_once(
    kinds: list[str], clicks: int, summary: str, ball_case: Case
) -> None:
    targets = tuple(target(i, kind, clicks) for i, kind in enumerate(kinds, start=1))
    prediction = Prediction(np.zeros((2, 3, 4), np.uint8), targets, (), 0.0)
    outcome = Outcome(Path("US_a.npz"), Path("out/US_a.npz"), ball_case, prediction, None, 0.5)
    classes = "1 class" if len(kinds) == 1 else f"{len(kinds)} classes"
    assert outcome.summary() == f"US_a.npz: 2x3x4, prompts: {summary}, {classes}, 0.5 s"


def test_folders_in_the_folder_are_named_and_not_read(tmp_path: Path, ball_case: Case) -> None:
    deep = tmp_path / "site" / "patient"
    deep.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    write_case(deep / "CT_b.npz", ball_case)
    with pytest.raises(
        CaseError, match=f"holds no .npz file; .*; {deep}: not read, it is a folder in a folder"
    ):
        find_cases(tmp_path)
    write_case(tmp_path / "CT_a.npz", ball_case)
    (tmp_path / "CT_c.npz").mkdir()
    assert find_cases(tmp_path) == [tmp_path / "CT_a.npz"]
    assert unread_folders(tmp_path) == [
        f"{place}: not read, it is a folder in a folder; give it by itself"
        for place in (tmp_path / "CT_c.npz", deep)
    ]
    assert len(unread_folders(tmp_path, tmp_path / "site")) == 1
    assert unread_folders(tmp_path / "CT_a.npz") == []


def test_upper_case_names_are_read(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "a", ball_case)
    (tmp_path / "a").rename(tmp_path / "CT_A.NPZ")
    assert find_cases(tmp_path / "CT_A.NPZ") == find_cases(tmp_path) == [tmp_path / "CT_A.NPZ"]
    (outcome,) = predict_files(find_cases(tmp_path), tmp_path / "out", Fragile())
    assert outcome.error is None
    assert np.load(tmp_path / "out" / "CT_A.npz")["segs"].shape == ball_case.volume.shape


def test_pipes_sockets_and_broken_links_fail_and_block_nothing(tmp_path: Path, ball_case: Case) -> None:
    os.mkfifo(tmp_path / "CT_a.npz")
    (tmp_path / "CT_b.npz").symlink_to("nowhere")
    write_case(tmp_path / "CT_c.npz", ball_case)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "CT_d.npz"))
        outcomes = list(predict_files(find_cases(tmp_path), tmp_path / "out", Fragile()))
    assert [o.error is None for o in outcomes] == [False, False, True, False]
    for number in (0, 3):
        assert "a pipe, a socket or a device; give a file" in outcomes[number].summary()
    assert find_cases(tmp_path / "CT_a.npz") == [tmp_path / "CT_a.npz"]


def test_strict_is_passed_on(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "CT_a.npz", ball_case)

    class Strict(Fragile):
        def segment(
            self, case: Case, prompt: str, top: int, *, strict: bool, probabilities: bool
        ) -> Prediction:
            if strict:
                raise CaseError(f"{case.name}: class 1 has no usable prompt")
            return super().segment(case, prompt, top, strict=strict, probabilities=probabilities)

    for strict in (False, True):
        (outcome,) = predict_files(find_cases(tmp_path), tmp_path / "out", Strict(), strict=strict)
        assert (outcome.error is not None) == strict
        assert outcome.output.exists() != strict


def test_files_that_vanish_or_hide(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "CT_a.npz", ball_case)
    (tmp_path / ".CT_partial.npz").write_bytes(b"")
    assert find_cases(tmp_path) == [tmp_path / "CT_a.npz"]
    assert find_cases(tmp_path / "CT_a.npz") == [tmp_path / "CT_a.npz"]
    with pytest.raises(CaseError, match="no such file"):
        find_cases(tmp_path / "none")
    gone = list(predict_files([tmp_path / "gone.npz"], tmp_path / "out", Fragile()))
    assert gone[0].error is not None
