import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lexor.cli import app
from lexor.models.weights import file_hash, read_card
from lexor.training.config import BudgetConfig, TrainingConfig, TrainingError, load_config
from lexor.training.export import export
from lexor.training.loop import train
from lexor.training.retrain import read_stages, retrain
from lexor.training.state import Progress


@pytest.fixture
def shipped(tmp_path: Path, data: Path) -> Path:
    """Weights at the end of two runs: of two steps, and of one more whose mean with its start is kept."""

    def config(steps: int, **more: object) -> TrainingConfig:
        tiny = {"model.window": [8, 16, 16], "data.paths": [data], "mix.real": 1, "log_every": 1}
        return load_config("smoke", tiny | {"budget": {"steps": steps}} | more)

    first, last = (tmp_path / name / "mobilenet3d.safetensors" for name in ("first", "last"))
    train(config(2, seed=3), tmp_path / "run1", device="cpu")
    export(tmp_path / "run1", first, licence="MIT")
    train(config(1, seed=4, **{"model.start": first}), tmp_path / "run2", device="cpu")
    export(tmp_path / "run2", last, licence="CC-BY-4.0", mean_with=first, share=0.25)
    return last


def retrained(weights: Path, data: Path, out: Path) -> str:
    """What `lexor retrain` says."""
    command = ["retrain", str(weights.with_suffix(".json")), "--data", str(data), "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_one_command_makes_the_same_weights_again(tmp_path: Path, data: Path, shipped: Path) -> None:
    done = retrained(shipped, data, tmp_path / "again")
    assert "warning" not in done
    again = tmp_path / "again" / "2" / "mobilenet3d.safetensors"
    assert f"{again}: " in done
    assert file_hash(again) == file_hash(shipped), "the same bytes"
    assert read_card(again)["licence"] == "CC-BY-4.0"
    assert read_card(again)["training"]["before"]["steps"] == 2
    assert str(tmp_path) not in again.with_suffix(".json").read_text("utf-8")
    saved = (tmp_path / "again" / "1" / "last.pt").stat().st_mtime_ns
    retrained(shipped, data, tmp_path / "again")
    assert file_hash(again) == file_hash(shipped), "nothing was left to do"
    assert (tmp_path / "again" / "1" / "last.pt").stat().st_mtime_ns == saved, "and nothing was done"


@pytest.mark.slow
def test_a_run_that_was_stopped_is_not_the_next_ones_start(
    tmp_path: Path, data: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(config: TrainingConfig, out: Path, **how: object) -> Progress:
        return train(config.model_copy(update={"budget": BudgetConfig(steps=1)}), out, device="cpu")

    card = shipped.with_suffix(".json")
    with monkeypatch.context() as patch:
        patch.setattr("lexor.training.loop.train", stopped)
        with pytest.raises(TrainingError, match=r"again/1: stopped at step 1; the same command"):
            retrain(card, [data], tmp_path / "again")
    weights, _ = retrain(card, [data], tmp_path / "again", device="cpu")
    assert read_card(weights)["training"]["before"]["steps"] == 2, "it went on"


@pytest.mark.slow
def test_another_cards_runs_are_not_gone_on_with(tmp_path: Path, data: Path, shipped: Path) -> None:
    card = shipped.with_suffix(".json")
    retrain(card, [data], tmp_path / "again", device="cpu")
    told = json.loads(card.read_text("utf-8"))
    told["training"]["before"]["config"]["seed"] = 5
    card.write_text(json.dumps(told), "utf-8")
    with pytest.raises(TrainingError, match=r"again/1: holds a run of seed 3, not 5; go on as it began"):
        retrain(card, [data], tmp_path / "again", device="cpu")


@pytest.mark.slow
def test_other_cases_are_warned_of(tmp_path: Path, data: Path, shipped: Path) -> None:
    sorted(data.glob("*.npz"))[0].unlink()
    done = retrained(shipped, data, tmp_path / "again")
    assert "was trained on other cases than these" in done


@pytest.mark.slow
def test_a_card_without_a_run_is_an_error(tmp_path: Path, shipped: Path) -> None:
    card = shipped.with_suffix(".json")
    told = json.loads(card.read_text("utf-8"))
    before = told["training"]["before"]
    before["config"], kept = None, before["config"]
    card.write_text(json.dumps(told), "utf-8")
    with pytest.raises(TrainingError, match=r"mobilenet3d.json: training.before: holds no config"):
        read_stages(card, [])
    before["config"] = kept
    del told["training"]["before"]
    card.write_text(json.dumps(told), "utf-8")
    with pytest.raises(TrainingError, match="started from weights of which the card tells nothing"):
        read_stages(card, [])
    card.write_text("{}", "utf-8")
    with pytest.raises(TrainingError, match="tells of no training"):
        read_stages(card, [])
    with pytest.raises(TrainingError, match=r"none.json: no such file"):
        read_stages(tmp_path / "none.json", [])


def test_a_mean_is_with_the_run_that_left_those_weights(tmp_path: Path) -> None:
    """By their hash, which tells as well when a card does not know them."""
    config = yaml.safe_load(load_config("smoke", {}).dump())
    first = {"config": config, "steps": 5}
    second = {"config": config, "steps": 6, "start": {"sha256": "a"}, "before": first}
    third = {"config": config, "steps": 7, "start": {"sha256": "b"}, "before": second}
    card = tmp_path / "card.json"
    for sha256, index in (("a", 0), ("b", 1)):
        told = third | {"mean_with": {"sha256": sha256, "share": 0.3}}
        card.write_text(json.dumps({"training": told}), "utf-8")
        stages = read_stages(card, [])
        assert [stage.config.budget.steps for stage in stages] == [5, 6, 7]
        assert [stage.mean_with for stage in stages] == [None, None, index]
        assert stages[-1].share == 0.3
    card.write_text(json.dumps({"training": third | {"mean_with": {"sha256": "c", "share": 0.3}}}), "utf-8")
    with pytest.raises(TrainingError, match=r"card.json: training: a mean with weights of which the card"):
        read_stages(card, [])


def test_the_shipped_cards_can_be_retrained() -> None:
    for card in (Path(__file__).parents[2] / "weights").glob("*.json"):
        if card.name == "manifest.json":
            continue
        stages = read_stages(card, [])
        told = json.loads(card.read_text("utf-8"))["training"]
        assert stages[-1].config.budget.steps == told["steps"]
        assert stages[0].config.model.start is None
        assert stages[0].config.model.start_model is None, "the first begins from random weights"
