import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from lexor.models.factory import create_model
from lexor.training.config import TrainingConfig, TrainingError, load_config
from lexor.training.loop import train
from lexor.training.records import read_log
from lexor.training.state import read_state, save_plain

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


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, data: Path) -> None:
    paths = {"data.paths": [data], "mix.real": 0.5}
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


@pytest.mark.slow
def test_two_processes_go_on_as_if_never_stopped(tmp_path: Path) -> None:
    """Between two rows of the log, where each process has sums of its own."""
    settings = {"devices": 2, "model.window": [12, 24, 24], "log_every": 3}
    train(tiny(3, **settings), tmp_path / "whole", device="cpu")
    train(tiny(2, **settings), tmp_path / "parts", device="cpu")
    train(tiny(3, **settings), tmp_path / "parts", device="cpu", resume=True)
    wanted, found = (read_log(tmp_path / name / "log.csv") for name in ("whole", "parts"))
    assert [row["step"] for row in found] == [3]
    assert found[0]["loss"] == pytest.approx(wanted[0]["loss"], rel=1e-12)
    one, other = (load_file(tmp_path / name / "average.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_run_goes_on_as_it_began(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_plain(create_model("mobilenet3d", weights=None, seed=1), start, "mobilenet3d")
    config = tiny(1, **{"model.start": start, "seed": 4})
    train(config, tmp_path / "run", device="cpu")

    def refused(message: str, **changes: object) -> None:
        with pytest.raises(TrainingError, match=message):
            train(tiny(2, seed=4, **changes), tmp_path / "run", device="cpu", resume=True)

    refused(
        r"run: holds a run of data.leave_out \[\], not \['CT_alpha'\]", **{"data.leave_out": ["CT_alpha"]}
    )
    refused(r"run: holds a run of optimiser.rate 0.002, not 0.001", **{"optimiser.rate": 1e-3})
    other = tmp_path / "other.safetensors"
    save_plain(create_model("mobilenet3d", weights=None, seed=2), other, "mobilenet3d")
    refused(r"run: holds a run that did not start from this .*other", **{"model.start": other})
    start.unlink()
    state = train(tiny(2, seed=4), tmp_path / "run", device="cpu", resume=True)
    assert state.step == 2, "neither its start nor the option is needed any more"
    assert load_config(tmp_path / "run" / "config.yaml").model.start == start


def test_a_gradient_that_is_not_finite_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(fabric: Fabric, loss: torch.Tensor, *given: Any, **how: Any) -> None:
        loss.backward()
        for group in gradients:
            group.grad.fill_(torch.inf)

    train(tiny(1), tmp_path / "run", device="cpu")
    before = read_state(tmp_path / "run" / "last.pt")["model"]
    gradients: list[Any] = []
    setup = Fabric.setup

    def watched(fabric: Fabric, module: torch.nn.Module, *optimisers: Any) -> Any:
        gradients.append(next(module.parameters()))
        return setup(fabric, module, *optimisers)

    monkeypatch.setattr(Fabric, "setup", watched)
    monkeypatch.setattr(Fabric, "backward", spoilt)
    assert train(tiny(3), tmp_path / "run", device="cpu", resume=True).step == 3
    after = read_state(tmp_path / "run" / "last.pt")["model"]
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_what_a_started_process_finds_wrong_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    config = tiny(1, devices=2, **{"model.start": tmp_path / "torn.safetensors"})
    with pytest.raises(TrainingError, match=r"^\S*torn.safetensors: not a safetensors file"):
        train(config, tmp_path / "run", device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segvol_vit_s", "mobilenet3d", "vit_s"])
def test_every_family_trains_in_bfloat16(tmp_path: Path, name: str) -> None:
    overrides = {"model.name": name, "model.window": [16, 64, 64], "precision": "bf16-mixed", "batch": 1}
    if name == "segvol_vit_s":
        overrides["prompts.recipe"] = "volume"
    assert train(tiny(2, **overrides), tmp_path / "run", device="cpu").step == 2
    assert all(0 < row["loss"] < 9 for row in read_log(tmp_path / "run" / "log.csv"))


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
    with pytest.raises(TrainingError, match=r"run: holds a run of model.name 'mobilenet3d', not 'vit_s'"):
        train(tiny(3, **{"model.name": "vit_s"}), tmp_path / "run", device="cpu", resume=True)


def test_a_session_ends_before_the_run(tmp_path: Path) -> None:
    state = train(tiny(10**6, **{"budget.session_minutes": 0.02}), tmp_path / "run", device="cpu")
    assert 0 < state.step < 1000
    assert 1.2 <= state.seconds < 30


def test_bad_weights_of_the_loss_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf); lower optimiser.rate"):
        train(tiny(9, **{"optimiser.rate": 1e30, "optimiser.warm_up": 0}), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.slow
def test_two_processes_share_the_work_and_save_when_asked_to_stop(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(tiny(10**6, devices=2, **{"model.window": [12, 24, 24]}).dump())
    command = [sys.executable, "-W", "error", "-m", "lexor.cli", "train"]
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
