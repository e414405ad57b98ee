"""What a run is between two steps, on disk: OUT/last.pt goes on by OUT/config.yaml, OUT/average.safetensors is the
product."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from lexor.training.config import TrainingError

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
) -> None:
    """Writes both files, each complete or not at all.

    Args:
        name: of the model, as the registry has it.
    """
    state = {
        "name": name,
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress),
    }
    temporary = out / f".{LAST}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(out / LAST)
    save_plain(average, out / AVERAGE, name)


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
) -> Progress:
    """Restores what `save_state` wrote.

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
    return Progress(**state["progress"])


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
