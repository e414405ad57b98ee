"""What a run is between two steps, on disk: OUT/last.pt goes on by OUT/config.yaml, OUT/average.safetensors is the
product."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from lexor.errors import WeightsError
from lexor.models.weights import file_hash, read_card
from lexor.training.config import TrainingConfig, TrainingError, load_config

CONFIG, LAST, AVERAGE = "config.yaml", "last.pt", "average.safetensors"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: optimiser steps taken.
        samples: seen, by all processes together.
        seconds: of training, over all sessions; times `processes` it is device time.
        processes: that trained last.
        sums: loss and Dice since the last row of the log, summed over steps.
        waited: seconds for samples, since then.
    """

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    processes: int = 1
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    waited: float = 0.0


def save_state(
    out: Path,
    name: str,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    origin: Mapping[str, Any],
) -> None:
    """Writes both files, each complete or not at all; the weights first, so that a state never tells of steps that
    they have not seen.

    Args:
        name: of the model, as the registry has it.
        origin: see `origin_of`.
    """
    save_plain(average, out / AVERAGE, name)
    state = {
        "name": name,
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress),
        "origin": json.dumps(origin),
    }
    temporary = out / f".{LAST}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(out / LAST)


def save_plain(model: nn.Module, path: Path, name: str) -> None:
    """Writes weights as they are, with neither card nor manifest; complete or not at all.

    Args:
        name: of the model, as the registry has it.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(save(tensors, metadata={"architecture": name}))
    temporary.replace(path)


def load_state(
    out: Path, name: str, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Any]]:
    """Restores what `save_state` wrote; where the run stands, and its origin.

    Raises:
        TrainingError: the file is damaged, or another model's.
    """
    path = out / LAST
    state = read_state(path)
    if state["name"] != name:
        raise TrainingError(
            f"{path}: holds a {state['name']!r}, model.name is {name!r}; choose another folder"
        )
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return Progress(**state["progress"]), json.loads(state.get("origin", "{}"))


def origin_of(start: Path) -> dict[str, Any]:
    """What is known of the weights that a run starts from, as long as they are there: "file", "sha256", and "before",
    how their card says they were made.

    Raises:
        WeightsError: there are none, or their card cannot be read.
    """
    if not start.is_file():
        raise WeightsError(f"{start}: no such file; give weights to start from")
    return {
        "file": start.name,
        "sha256": file_hash(start),
        "before": dict(read_card(start).get("training", {})),
    }


def origin_in(state: Mapping[str, Any], start: Path | None) -> dict[str, Any]:
    """The origin in a state that `read_state` returned; where none was noted, what `start` is now."""
    origin: dict[str, Any] = json.loads(state.get("origin", "{}"))
    return origin or ({} if start is None else origin_of(start))


def continued(config: TrainingConfig, out: Path) -> TrainingConfig:
    """The configuration with which the run in OUT goes on: the given one, from where the run started.

    Raises:
        TrainingError: it is another run's.
    """
    stored = load_config(out / CONFIG)
    start = config.model.start
    if start is not None:
        origin = origin_in(read_state(out / LAST), stored.model.start)
        if origin.get("sha256") != file_hash(start):
            raise TrainingError(
                f"{out}: holds a run that did not start from this {start}; give another --out"
            )
    model = config.model.model_copy(
        update={"start": stored.model.start, "start_model": stored.model.start_model}
    )
    workers = stored.workers if config.workers is None else config.workers
    config = config.model_copy(update={"model": model, "workers": workers})
    differ = [
        f"{key} {value!r}, not {given!r}"
        for (key, value), given in zip(_recipe(stored).items(), _recipe(config).values(), strict=True)
        if value != given
    ]
    if differ:
        raise TrainingError(f"{out}: holds a run of {differ[0]}; go on as it began, or give another --out")
    return config


def _recipe(config: TrainingConfig) -> dict[str, Any]:
    """What makes a run what it is, by dotted key: neither where files and processes are nor how far it shall come."""
    values = config.model_dump(mode="json")
    for section, key in (("data", "paths"), ("data", "labels"), ("data", "cache_mb"), ("model", "start")):
        del values[section][key]
    for key in ("budget", "devices", "workers", "log_every", "save_every_minutes"):
        del values[key]
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": part for name, part in value.items()}
        else:
            flat[key] = value
    return flat


def read_state(path: Path) -> dict[str, Any]:
    """The content of a last.pt, tensors on the CPU; nothing in it is executed.

    Raises:
        TrainingError: it is not there or damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError) as problem:
        reason = str(problem).split("\n")[0]
        raise TrainingError(f"{path}: cannot be read ({reason}); start in another folder") from None
    return state
