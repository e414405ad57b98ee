from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lexor.models.factory import create_model
from lexor.models.weights import file_hash, read_card, save_weights
from lexor.training.config import TrainingConfig, load_config
from lexor.training.export import export
from lexor.training.loop import train


def test_a_runs_weights_say_how_they_were_made(tmp_path: Path, data: Path) -> None:
    (data / "manifest.csv").write_text(
        "file,licence\n" + "".join(f"train/CT_alpha_{n}.npz,CC BY 4.0\n" for n in range(4))
    )
    config = load_config(
        "smoke",
        {
            "model.window": [8, 16, 16],
            "data.paths": [data],
            "data.leave_out": ["MR_gamma"],
            "mix.real": 1,
            "budget.minutes": None,
            "budget.steps": 2,
            "log_every": 1,
        },
    )
    train(config, tmp_path / "run", device="cpu")
    path = tmp_path / "weights" / "mobilenet3d.safetensors"
    entry = export(tmp_path / "run", path, licence="CC-BY-4.0")
    assert (entry.architecture, entry.licence, entry.card) == ("mobilenet3d", "CC-BY-4.0", "mobilenet3d.json")
    stored = load_file(path)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    for name, tensor in load_file(tmp_path / "run" / "average.safetensors").items():
        torch.testing.assert_close(stored[name].float(), tensor, atol=1e-3, rtol=1e-3)
    create_model("mobilenet3d", weights=path)
    card = read_card(path)
    assert card["data"]["real"] == [
        {"source": "CT_alpha", "licence": "CC BY 4.0", "volumes": 4},
        {"source": "CT_beta", "licence": "unknown; no manifest.csv says it", "volumes": 2},
    ]
    assert len(card["data"]["sha256"]) == 64
    training = card["training"]
    assert (training["steps"], training["samples"], training["seed"]) == (2, 8, 0)
    again = path.with_suffix(".json")
    assert load_config(again, {"data.paths": [data]}) == config, "the card retrains its file"
    assert training["command"] == "lexor retrain weights/mobilenet3d.json --data FOLDER_OR_PACK"
    assert str(tmp_path) not in again.read_text("utf-8"), "a card names no place on a machine"


def test_a_start_that_no_card_tells_of_cannot_be_retrained_and_is_not_said_to_be(tmp_path: Path) -> None:
    start = tmp_path / "found.safetensors"
    save_weights(
        create_model("mobilenet3d", weights=None, seed=1), start, architecture="mobilenet3d", licence="MIT"
    )
    config = load_config(
        "smoke", {"model.window": [8, 16, 16], "model.start": start, "mix.real": 0, "budget": {"steps": 1}}
    )
    train(config, tmp_path / "run", device="cpu")
    export(tmp_path / "run", tmp_path / "mobilenet3d.safetensors", licence="MIT")
    training = read_card(tmp_path / "mobilenet3d.safetensors")["training"]
    assert training["command"].startswith("none: no card tells how found.safetensors")
    assert "before" not in training


def test_the_mean_with_other_weights_is_written_and_told(tmp_path: Path) -> None:
    config = load_config(
        "smoke", {"model.window": [8, 16, 16], "mix.real": 0, "budget.minutes": None, "budget.steps": 1}
    )
    train(config, tmp_path / "run", device="cpu")
    other = tmp_path / "other.safetensors"
    save_weights(
        create_model("mobilenet3d", weights=None, seed=5), other, architecture="mobilenet3d", licence="MIT"
    )
    path = tmp_path / "mean.safetensors"
    export(tmp_path / "run", path, licence="MIT", mean_with=other, share=0.25, dtype=torch.float32)
    mine, theirs = load_file(tmp_path / "run" / "average.safetensors"), load_file(other)
    for name, tensor in load_file(path).items():
        torch.testing.assert_close(tensor, 0.75 * mine[name] + 0.25 * theirs[name].float())
    told = read_card(path)["training"]["mean_with"]
    assert told == {
        "file": "other.safetensors",
        "sha256": sha256(other.read_bytes()).hexdigest(),
        "share": 0.25,
    }


@pytest.mark.slow
def test_a_run_knows_what_it_started_from_whatever_lies_there_now(tmp_path: Path) -> None:
    def config(**more: object) -> TrainingConfig:
        tiny = {"model.window": [8, 16, 16], "budget": {"steps": 1}}
        return load_config("smoke", tiny | more)

    weights = tmp_path / "weights" / "mobilenet3d.safetensors"
    train(config(), tmp_path / "first", device="cpu")
    export(tmp_path / "first", weights, licence="MIT")
    start = file_hash(weights)
    train(config(seed=1, **{"model.start": weights}), tmp_path / "second", device="cpu")
    for _ in range(2):
        export(tmp_path / "second", weights, licence="MIT")
        told = read_card(weights)["training"]
        assert told["start"] == {"file": weights.name, "sha256": start}
        assert "before" not in told["before"]


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run; give a folder that `lexor train` left"):
        export(tmp_path, tmp_path / "weights.safetensors", licence="MIT")
