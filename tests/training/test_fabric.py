import pytest
import torch

from lexor.training.config import TrainingConfig, TrainingError, load_config
from lexor.training.fabric import Autocast, make_fabric, placed


@pytest.fixture
def config() -> TrainingConfig:
    return load_config("mobilenet3d")


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("os.cpu_count", lambda: 16)


def test_a_preset_of_two_cores_takes_the_one_gpu(
    config: TrainingConfig, one_gpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    found, device = placed(config, "auto")
    assert (config.devices, found.devices, found.workers, device) == (2, 1, 15, "cuda")
    assert "devices: 2 asked for, 1 here" in caplog.text
    assert placed(config.model_copy(update={"workers": 3}), "cuda")[0].workers == 3
    assert placed(config, "cpu") == (config, "cpu")


def test_no_gpu_is_an_error_where_one_is_asked_for(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert placed(config, "auto") == (config, "cpu")
    with pytest.raises(TrainingError, match="--device cuda: no GPU that torch can use"):
        placed(config, "cuda")


@pytest.mark.parametrize(
    ("environment", "devices", "nodes"),
    [
        ({"LOCAL_RANK": "0", "RANK": "0", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, 4, 2),
        ({"SLURM_NTASKS": "6", "SLURM_NNODES": "3"}, 2, 3),
        ({}, 2, 1),
    ],
)
def test_a_launchers_processes_are_used(
    config: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    devices: int,
    nodes: int,
) -> None:
    seen = {}
    monkeypatch.setattr("lexor.training.fabric.Fabric", lambda **given: seen.update(given))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    make_fabric(config, "cpu")
    assert (seen["devices"], seen["num_nodes"]) == (devices, nodes)
    assert seen["strategy"]._start_method == ("popen" if environment else "spawn")


def test_what_a_model_is_given_is_not_rounded() -> None:
    edge = torch.tensor([47.3])
    assert Autocast("bf16-mixed", "cpu").convert_input({"boxes": edge})["boxes"] is edge


@pytest.mark.parametrize("computes", [torch.bfloat16, None])
def test_bfloat16_is_used_where_the_cpu_computes_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, computes: torch.dtype | None
) -> None:
    """Emulated, a convolution takes some 300 times as long as in float32."""
    monkeypatch.setattr("lexor.training.fabric.low_precision", lambda device: computes)
    precision = make_fabric(load_config("encoders", {"devices": 1}), "cpu")._precision
    assert isinstance(precision, Autocast) == (computes is not None)
    assert ("float32" in caplog.text) == (computes is None)
