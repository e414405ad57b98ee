"""Where a run trains: its devices, processes and precision, for Lightning Fabric."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy

from lexor.inference.runner import low_precision
from lexor.models.factory import create_model
from lexor.training.config import TrainingConfig, TrainingError

log = logging.getLogger("lexor")


class Autocast(MixedPrecision):
    """Layers compute in bfloat16, but nothing is rounded before: a box's edge would be off by a tenth of a voxel."""

    def convert_input(self, data: Any) -> Any:
        """What the model is given, as it is."""
        return data


def placed(config: TrainingConfig, device: str) -> tuple[TrainingConfig, str]:
    """The configuration and the device as this machine can have them.

    Args:
        config: of the run. More GPUs than there are become as many as there are. Workers that nobody has chosen are
            none on a CPU, whose cores train, and the cores that are left on a GPU, which would wait for samples.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.

    Raises:
        TrainingError: a GPU is asked for where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return config, device
    if not torch.cuda.is_available():
        raise TrainingError("--device cuda: no GPU that torch can use; give --device cpu")
    launched = _launched()
    devices = config.devices if launched else min(config.devices, torch.cuda.device_count())
    if devices < config.devices:
        log.warning("devices: %d asked for, %d here: going on with these", config.devices, devices)
    workers = config.workers
    if workers is None:
        here, _ = launched or (devices, 1)
        workers = max(1, (os.cpu_count() or 2) // here - 1)
    return config.model_copy(update={"devices": devices, "workers": workers}), device


def make_fabric(config: TrainingConfig, device: str) -> Fabric:
    """Fabric for a configuration that is `placed`.

    Under torchrun or Slurm its processes are the launcher's, else `config.devices` are started here.
    """
    launched = _launched()
    devices, nodes = launched or (config.devices, 1)
    strategy: str | Strategy = "auto"
    if launched or devices > 1:
        strategy = DDPStrategy(
            start_method="popen" if launched else "spawn",
            gradient_as_bucket_view=True,
            find_unused_parameters=_leaves_parameters_out(config.model.name),
        )
    precision: dict[str, Any] = {"precision": "32-true"}
    if config.precision == "bf16-mixed":
        if device != "cpu" or low_precision(torch.device("cpu")) is not None:
            precision = {"plugins": Autocast("bf16-mixed", device)}
        else:
            # Its convolutions are emulated there: 300 times as slow as float32.
            log.warning("precision: this CPU has no bfloat16 arithmetic; going on with float32")
    return Fabric(accelerator=device, devices=devices, num_nodes=nodes, strategy=strategy, **precision)


def _launched() -> tuple[int, int] | None:
    """Processes a node, and nodes, of the launcher that started this process; None where there was none."""
    try:
        if "LOCAL_RANK" in os.environ:
            local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            return local, max(1, int(os.environ.get("WORLD_SIZE", "1")) // local)
        if "SLURM_NTASKS" in os.environ:
            nodes = int(os.environ.get("SLURM_NNODES", "1"))
            return max(1, int(os.environ["SLURM_NTASKS"]) // nodes), nodes
    except ValueError as problem:
        raise TrainingError(f"the launcher's environment: {problem}; start it again, or without it") from None
    return None


def _leaves_parameters_out(name: str) -> bool:
    """SegVol's decoder answers with one of its four masks; the others' heads get no gradient."""
    with torch.device("meta"):
        model = create_model(name, weights=None, device="meta")
    return model.zoom_out == "volume"
