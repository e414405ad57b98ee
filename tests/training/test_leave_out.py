from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lexor.evaluation.boxes import METHODS, MODEL, Row
from lexor.geometry import Box
from lexor.io.case import Case, write_case
from lexor.training.config import BudgetConfig, TrainingConfig, TrainingError, load_config
from lexor.training.export import export
from lexor.training.leave_out import LeftOut, leave_out_scores
from lexor.training.loop import train


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    """A run of one step on three cases of three sources."""
    data = tmp_path / "data"
    data.mkdir()
    labels = (sum((g - 12 + 4 * (a == 0)) ** 2 for a, g in enumerate(np.indices((16, 32, 32)))) <= 25).astype(
        np.uint8
    )
    box = Box((3, 7, 7), (14, 18, 18), 8)
    for name in ("CT_alpha_0", "CT_beta_0", "MR_gamma_0"):
        case = Case(name, 60 + 100 * labels, (2.0, 1.0, 1.0), (box,))
        write_case(data / f"{name}.npz", case, labels=labels)
    return load_config(
        "smoke",
        {
            "model.window": [8, 16, 16],
            "data.paths": [data],
            "mix.real": 1,
            "budget.minutes": None,
            "budget.steps": 1,
        },
    )


def test_every_turn_scores_what_it_did_not_see(config: TrainingConfig, tmp_path: Path) -> None:
    turns = [["CT_alpha"], ["CT_beta", "MR_gamma"]]
    found = list(leave_out_scores(config, tmp_path / "runs", turns, device="cpu"))
    assert [turn.sources for turn in found] == [("CT_alpha",), ("CT_beta", "MR_gamma")]
    assert [[row.case for row in turn.rows] for turn in found] == [
        ["CT_alpha_0"],
        ["CT_beta_0", "MR_gamma_0"],
    ]
    assert all(row.scores["Lexor"] > 0.5 for turn in found for row in turn.rows), "the shape prior alone"
    used = load_config(tmp_path / "runs" / "CT_beta+MR_gamma" / "1" / "config.yaml")
    assert used.data.leave_out == ("CT_beta", "MR_gamma")
    with pytest.raises(TrainingError, match=r"data.paths: no case of CT_delta"):
        list(leave_out_scores(config, tmp_path / "runs", [["CT_delta"]], device="cpu"))


@pytest.mark.slow
def test_every_run_starts_from_the_mean_that_the_last_one_left(
    config: TrainingConfig, tmp_path: Path
) -> None:
    first, second, third = leave_out_scores(
        config, tmp_path / "runs", [["CT_alpha"]], 3, share=0.25, patience=3, device="cpu"
    )
    folder = tmp_path / "runs" / "CT_alpha"
    assert [found.weights.relative_to(folder).as_posix() for found in (first, second, third)] == [
        "1/average.safetensors",
        "2/mean.safetensors",
        "3/mean.safetensors",
    ]
    configs = [load_config(folder / str(number) / "config.yaml") for number in (1, 2, 3)]
    assert [run.model.start for run in configs] == [None, first.weights, second.weights]
    assert [run.seed - config.seed for run in configs] == [0, 1, 2]
    own, start, mean = (
        load_file(file) for file in (folder / "2" / "average.safetensors", first.weights, second.weights)
    )
    for key, value in mean.items():
        torch.testing.assert_close(value, 0.75 * own[key] + 0.25 * start[key])
    assert any(not torch.equal(own[key], start[key]) for key in own), "the second run learnt"
    assert [found.samples for found in (second, third)] == [2 * first.samples, 3 * first.samples]


@pytest.mark.slow
def test_a_turn_ends_when_its_score_no_longer_rises(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.5, 0.6, 0.6, 0.7, 0.7, 0.6, 0.9))
    monkeypatch.setattr(LeftOut, "score", property(lambda _: next(scores)))
    found = list(leave_out_scores(config, tmp_path / "runs", [["CT_alpha"]], 9, device="cpu"))
    assert [turn.run for turn in found] == [1, 2, 3, 4, 5, 6], "two on end gained nothing"


def test_a_run_that_was_stopped_is_not_scored(config: TrainingConfig, tmp_path: Path) -> None:
    stopped = config.model_copy(update={"budget": BudgetConfig(steps=2, session_minutes=1e-9)})
    with pytest.raises(TrainingError, match=r"CT_alpha/1: stopped at step 0; the same command goes on"):
        next(leave_out_scores(stopped, tmp_path / "runs", [["CT_alpha"]], device="cpu"))
    found = next(leave_out_scores(config, tmp_path / "runs", [["CT_alpha"]], device="cpu"))
    assert found.samples == config.batch, "it went on to its one step"


def test_a_start_that_has_seen_the_sources_is_refused(config: TrainingConfig, tmp_path: Path) -> None:
    seen = tmp_path / "seen" / "mobilenet3d.safetensors"
    train(config, tmp_path / "seen", device="cpu")
    export(tmp_path / "seen", seen, licence="MIT")
    leaking = config.model_copy(update={"model": config.model.model_copy(update={"start": seen})})
    with pytest.raises(TrainingError, match=r"have seen CT_alpha, as their card tells; start from others"):
        next(leave_out_scores(leaking, tmp_path / "runs", [["CT_alpha"]], device="cpu"))


@pytest.mark.slow
def test_the_runs_of_another_chain_are_not_gone_on_with(config: TrainingConfig, tmp_path: Path) -> None:
    def chain(**how: Any) -> list[LeftOut]:
        return list(leave_out_scores(config, tmp_path / "runs", [["CT_alpha"]], 3, device="cpu", **how))

    first = chain(share=0.5)
    assert [found.score for found in chain(share=0.5)] == [found.score for found in first], "only scored"
    with pytest.raises(TrainingError, match=r"CT_alpha/3: holds a run that did not start from this"):
        chain(share=0.25)


def test_the_score_is_the_mean_over_modalities() -> None:
    def row(modality: str, dice: float) -> Row:
        scores = dict.fromkeys(METHODS, 0.0) | {MODEL: dice}
        return Row("case", modality, "source", 1, 9, (), scores, scores)

    rows = [row("CT", 0.2), row("CT", 0.4), row("MR", 0.9)]
    assert LeftOut((), 1, 8, 1.0, Path(), rows).score == pytest.approx(0.6)
