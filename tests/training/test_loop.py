import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lexor.models.factory import create_model
from lexor.training.config import TrainingConfig, TrainingError, load_config
from lexor.training.loop import train
from lexor.training.records import read_log
from lexor.training.state import read_state

TINY = {
    "model.window": [8, 16, 16],
    "batch": 2,
    "log_every": 1,
    "mix.initial": 3,
    "mix.scenes": 3,
    "mix.renew_every": 2,
    "prompts.mix": {},
    "prompts.interaction": 0.5,
    "optimiser.warm_up": 3,
    "optimiser.schedule": "constant",
    "budget.minutes": None,
}


def tiny(steps: int, **overrides: object) -> TrainingConfig:
    return load_config("smoke", TINY | {"budget.steps": steps} | overrides)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, data: Path) -> None:
    paths = {"data.paths": [data]}
    whole = train(tiny(6, **paths), tmp_path / "whole", device="cpu")
    train(tiny(3, **paths), tmp_path / "parts", device="cpu")
    state = train(tiny(6, **paths), tmp_path / "parts", device="cpu", resume=True)
    assert (state.step, state.samples, whole.samples) == (6, 12, 12)
    wanted, found = (read_log(tmp_path / name / "log.csv") for name in ("whole", "parts"))
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    for key in ("loss", "dice", "lr"):
        assert [row[key] for row in found] == [row[key] for row in wanted]
    one, other = (load_file(tmp_path / name / "average.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_leaves_its_records_and_weights_that_load(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "run", device="cpu")
    names = sorted(path.name.split(".")[0] for path in (tmp_path / "run").iterdir())
    assert names == ["average", "config", "curve", "events", "last", "log"]
    assert load_config(tmp_path / "run" / "config.yaml") == tiny(2)
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    model = create_model("mobilenet3d", weights=tmp_path / "run" / "average.safetensors")
    state = read_state(tmp_path / "run" / "last.pt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, state["average"][name])
    assert any(not torch.equal(state["model"][name], state["average"][name]) for name in state["model"])


def test_a_run_is_not_overwritten_and_a_torn_log_is_mended(tmp_path: Path) -> None:
    train(tiny(1), tmp_path / "run", device="cpu")
    with pytest.raises(TrainingError, match=r"last.pt: there is a run; give --resume"):
        train(tiny(1), tmp_path / "run", device="cpu")
    with (tmp_path / "run" / "log.csv").open("a") as file:
        file.write("2,4,1,0.1,9.0,0.0,0\n")  # of a step that was never saved
    train(tiny(2), tmp_path / "run", device="cpu", resume=True)
    rows = read_log(tmp_path / "run" / "log.csv")
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[1]["loss"] < 9
    with pytest.raises(TrainingError, match=r"holds a 'mobilenet3d', model.name is 'vit_s'"):
        train(tiny(3, **{"model.name": "vit_s"}), tmp_path / "run", device="cpu", resume=True)


def test_a_session_ends_before_the_run(tmp_path: Path) -> None:
    state = train(tiny(10**6, **{"budget.session_minutes": 0.02}), tmp_path / "run", device="cpu")
    assert 0 < state.step < 1000
    assert 1.2 <= state.seconds < 30


def test_bad_weights_of_the_loss_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf); lower optimiser.rate"):
        train(tiny(9, **{"optimiser.rate": 1e30, "optimiser.warm_up": 0}), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "last.pt").exists()


def test_two_processes_share_the_work_and_save_when_asked_to_stop(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(tiny(10**6, devices=2, **{"model.window": [12, 24, 24]}).dump())
    command = [sys.executable, "-W", "error", "-m", "lexor.training.cli", "train"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "two.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while len(read_log(tmp_path / "run" / "log.csv")) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    progress = read_state(tmp_path / "run" / "last.pt")["progress"]
    assert progress["step"] >= 2
    assert progress["samples"] == progress["step"] * 4
    assert progress["processes"] == 2
    assert f"step {progress['step']}, {progress['samples']} samples" in out
