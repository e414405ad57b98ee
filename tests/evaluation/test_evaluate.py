from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden import Balls, golden_case, golden_truth

from lexor.evaluation.evaluate import Failure, Settings, evaluate_cases, identity
from lexor.evaluation.results import CaseResult, Record
from lexor.geometry import Box
from lexor.inference.predictor import Prediction, Predictor
from lexor.inference.strategies.automatic import box_overlap
from lexor.inference.targets import AutomaticBox, box_target
from lexor.io.case import Case, write_case


class Counting(Balls):
    """Counts its runs; fails at cases of one name; answers an automatic prompt with the tube."""

    def __init__(self, fails: str = "") -> None:
        self.runs: list[str] = []
        self.fails = fails

    def segment(self, case: Case, prompt: str = "given", top: int = 1) -> Prediction:
        self.runs.append(f"{case.name} {prompt}" + (f" {top}" if top > 1 else ""))
        if case.name == self.fails:
            raise RuntimeError("pretended")
        if prompt == "auto":
            assert case.boxes == case.clicks == ()
            assert case.previous is None
            if top > 1:  # two labels in another order
                labels = np.select([golden_truth() == 2, golden_truth() == 1], [1, 2], 0).astype(np.uint8)
                return Prediction(labels, (), (), 9.0)
            target = box_target(1, AutomaticBox(Box((0, 0, 0), (20, 40, 22), 9), "dark", 0.5))
            return Prediction((golden_truth() == 3).astype(np.uint8), (target,), (), 0.25)
        return super().segment(case)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three golden cases."""
    names = ["CT_golden_1", "CT_golden_2", "MR_golden_1"]
    for name in names:
        write_case(tmp_path / f"{name}.npz", replace(golden_case(), name=name), golden_truth())
    return [tmp_path / f"{name}.npz" for name in names]


def test_results_of_every_case(paths: list[Path]) -> None:
    predictor = Counting()
    results = list(evaluate_cases(paths, predictor, Settings(clicks=2), Record(None, {})))
    assert len(predictor.runs) == 9
    assert [result.modality for result in results if isinstance(result, CaseResult)] == ["CT", "CT", "MR"]
    first = results[0]
    assert isinstance(first, CaseResult)
    assert first.box_run is not None
    # The volume is under 51 pixels wide, so loosening leaves the boxes as they are.
    assert first.box_run.scores.dsc == pytest.approx(0.6105934894700255, abs=1e-12)
    assert first.final.dsc == pytest.approx(0.638848432495352, abs=1e-12)
    assert [row.label for row in first.rows] == [1, 2, 3]
    assert np.mean([row.scores["Lexor"] for row in first.rows]) == pytest.approx(first.box_run.scores.dsc)
    assert first.n_labels == 3


def test_a_bad_case_stops_nothing(paths: list[Path]) -> None:
    paths[0].write_bytes(b"PK")
    predictor = Counting(fails="CT_golden_2")
    record = Record(None, {})
    results = list(evaluate_cases(paths, predictor, Settings(clicks=1), record))
    assert isinstance(results[0], Failure)
    assert results[1] == Failure("CT_golden_2", "CT_golden_2.npz: RuntimeError: pretended")
    assert results[1].summary() == "CT_golden_2: FAILED: CT_golden_2.npz: RuntimeError: pretended"
    assert isinstance(results[2], CaseResult)
    assert list(record.finished) == ["MR_golden_1"]


def test_what_is_recorded_is_not_run_again(paths: list[Path], tmp_path: Path) -> None:
    settings, file = Settings(clicks=1), tmp_path / "r.jsonl"
    whole = list(evaluate_cases(paths, Counting(), settings, Record(file, {})))
    cut = evaluate_cases(paths, Counting(), settings, Record(tmp_path / "s.jsonl", {}))
    next(cut)
    again = Counting()
    record = Record(tmp_path / "s.jsonl", {})
    assert list(evaluate_cases(paths, again, settings, record)) == whole
    assert {run.split()[0] for run in again.runs} == {"CT_golden_2", "MR_golden_1"}
    assert (tmp_path / "s.jsonl").read_bytes() == file.read_bytes()
    few = list(evaluate_cases(paths, Counting("CT_golden_1"), settings, record, chosen=paths[:1]))
    assert few == whole[:1]


def test_boxes_withheld(paths: list[Path]) -> None:
    settings = Settings(clicks=5, boxes=False)
    (result,) = evaluate_cases(paths, Counting(), settings, Record(None, {}), paths[:1])
    assert isinstance(result, CaseResult)
    assert result.box_run is None
    assert result.rows == ()
    assert result.auc.dsc == pytest.approx(2.1411899164268164, abs=1e-12)
    (nothing,) = evaluate_cases(paths, Counting(), replace(settings, clicks=0), Record(None, {}), paths[:1])
    assert isinstance(nothing, Failure)
    assert "give --clicks 1 or more" in nothing.error


def test_truth_kept_apart_and_boxes_as_given(tmp_path: Path) -> None:
    wide = np.zeros((20, 40, 512), np.uint8)
    truth = np.zeros_like(wide)
    truth[:, :, :44] = golden_truth()
    (tmp_path / "imgs").mkdir()
    (tmp_path / "gts").mkdir()
    path = tmp_path / "imgs" / "CT_golden_1.npz"
    write_case(path, replace(golden_case(), volume=wide))
    np.savez(tmp_path / "gts" / path.name, gts=truth)
    settings = Settings(clicks=0, loosen=False)
    given, loose = (
        next(evaluate_cases([path], Counting(), chosen, Record(None, {}), truths=tmp_path / "gts"))
        for chosen in (settings, replace(settings, loosen=True))
    )
    assert isinstance(given, CaseResult)
    assert isinstance(loose, CaseResult)
    assert given.final.dsc == pytest.approx(0.6105934894700255, abs=1e-12)
    assert loose.final.dsc < given.final.dsc - 0.05


@pytest.mark.parametrize("apart", [False, True])
def test_labels_with_gaps_score_as_those_without(paths: list[Path], tmp_path: Path, apart: bool) -> None:
    truths = tmp_path / "gts"
    truths.mkdir()
    whole = [Settings(clicks=1), Settings(clicks=1, boxes=False), Settings(clicks=0, prompt="auto", top=4)]
    wanted = [next(evaluate_cases(paths[:1], Counting(), settings, Record(None, {}))) for settings in whole]
    gaps = np.array([0, 4, 1000, 40_000_000])[golden_truth()]
    with np.load(paths[0], allow_pickle=True) as file:
        np.savez((truths / paths[0].name) if apart else paths[0], **{**file, "gts": gaps})
    for settings, result in zip(whole, wanted, strict=True):
        found = evaluate_cases(
            paths[:1], Counting(), settings, Record(None, {}), None, truths if apart else None
        )
        assert list(found) == [result]


def test_an_automatic_box_is_compared_with_the_given_ones(paths: list[Path]) -> None:
    predictor = Counting()
    settings = Settings(clicks=0, prompt="auto")
    (result,) = evaluate_cases(paths, predictor, settings, Record(None, {}), paths[:1])
    assert isinstance(result, CaseResult)
    assert predictor.runs == ["CT_golden_1 given", "CT_golden_1 auto"]
    assert result.automatic is not None
    assert (result.automatic.best_label, result.automatic.best_dsc) == (3, 1)
    # As class 1 it meets nothing, and the other two are missed.
    assert result.automatic.scores.dsc == 0
    assert result.automatic.seconds == 0.25
    assert (result.automatic.top, result.automatic.top_dsc, result.automatic.confidence) == (1, 1, 0.5)
    own = [box for box in golden_case().boxes if box is not None]
    assert result.automatic.given_overlap == max(
        box_overlap(box, Box.measured(golden_truth() == label)) for label, box in enumerate(own, start=1)
    )
    found = Box((0, 0, 0), (20, 40, 22), 9)
    assert result.automatic.box_overlap == max(
        box_overlap(found, Box.measured(golden_truth() == label)) for label in (1, 2, 3)
    )


def test_several_automatic_targets_are_a_run_of_their_own(paths: list[Path]) -> None:
    predictor = Counting()
    settings = Settings(clicks=0, prompt="auto", top=4)
    (result,) = evaluate_cases(paths, predictor, settings, Record(None, {}), paths[:1])
    assert isinstance(result, CaseResult)
    assert predictor.runs == ["CT_golden_1 given", "CT_golden_1 auto", "CT_golden_1 auto 4"]
    assert result.automatic is not None
    assert (result.automatic.best_label, result.automatic.top, result.automatic.top_dsc) == (3, 4, 1)
    assert result.automatic.seconds == 0.25


def test_the_challenges_box_of_a_mask() -> None:
    mask = np.zeros((6, 8, 9), bool)
    mask[1:5, 2, 3] = True
    mask[3, 2:5, 3:7] = True
    assert Box.measured(mask) == Box((1, 2, 3), (5, 5, 7), 3)


def test_identity_tells_weights_settings_cases_and_truths_apart(tmp_path: Path) -> None:
    predictor = Predictor(device="cpu")
    case, truths = tmp_path / "CT_a.npz", tmp_path / "gts"
    truths.mkdir()
    for path in (case, truths / case.name):
        path.write_bytes(b"12")
    first = identity(predictor, Settings(), [case])
    assert first == identity(predictor, Settings(), [case])
    assert first["clicks"] == 5
    apart = identity(predictor, Settings(), [case], truths)
    assert apart["cases"] != first["cases"]
    (truths / case.name).write_bytes(b"123")
    assert identity(predictor, Settings(), [case], truths)["cases"] != apart["cases"]
    parameter = next(predictor.runner.model.parameters())
    parameter.data.flatten()[0] += 1
    changed = identity(predictor, Settings(), [case])
    assert {key for key, value in changed.items() if value != first[key]} == {"weights"}
