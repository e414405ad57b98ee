"""Weights made again from their card: every run that it tells of, the oldest first, each from the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lexor.models.shards import SUFFIX
from lexor.models.weights import ManifestEntry, read_json, read_manifest
from lexor.training.config import TrainingConfig, TrainingError, parse_config
from lexor.training.export import data_hash, export
from lexor.training.loop import complete
from lexor.training.state import LAST, continued, read_state


@dataclass(frozen=True)
class Stage:
    """One run of a card.

    Attributes:
        config: as it ran, with the steps that it took as its budget: minutes are another length on another machine.
        mean_with: index of the earlier run whose weights were kept in a mean with its own; None: its own alone.
        share: of these in that mean.
    """

    config: TrainingConfig
    mean_with: int | None = None
    share: float | None = None


def read_stages(card: Path, data: Sequence[Path]) -> list[Stage]:
    """The runs of a weights' card, oldest first.

    Args:
        card: a JSON object; its "training" is of the last run, each run's "before" of the one it started from.
        data: folders of the cases, or packed files; a card names none.

    Raises:
        TrainingError: a run without what it takes to run it again, or none at all.
        WeightsError: the card cannot be read.
    """
    if not card.is_file():
        raise TrainingError(f"{card}: no such file; give the card of trained weights")
    runs: list[tuple[str, dict[str, Any]]] = []
    told = read_json(card).get("training")
    while told is not None:
        place = f"{card}: " + "training" + ".before" * len(runs)
        if not isinstance(told, dict) or not isinstance(told.get("config"), dict):
            raise TrainingError(f"{place}: holds no config; this run cannot be made again from the card")
        runs.insert(0, (place, told))
        told = told.get("before")
    if not runs:
        raise TrainingError(f"{card}: tells of no training; give the card of trained weights")
    stages: list[Stage] = []
    # What each run but the last left: the next one started from it.
    left: dict[str | None, int] = {}
    for number, (place, told) in enumerate(runs):
        start = told.get("start")
        if start is not None and number == 0:
            raise TrainingError(f"{place}: started from weights of which the card tells nothing")
        if start is not None and "sha256" in start:
            left[start["sha256"]] = number - 1
        mean = told.get("mean_with") or {}
        if mean and mean.get("sha256") not in left:
            raise TrainingError(f"{place}: a mean with weights of which the card tells nothing")
        overrides = {
            "data.paths": [str(path) for path in data],
            "budget": {"steps": told.get("steps")},
        }
        config = parse_config(told["config"], place, overrides)
        stages.append(Stage(config, left.get(mean.get("sha256")), mean.get("share")))
    return stages


def retrain(
    card: Path, data: Sequence[Path], out: Path, *, device: str = "auto", devices: int | None = None
) -> tuple[Path, ManifestEntry]:
    """Runs a card's runs again, in OUT/1, OUT/2 and so on. What is there already is not run again.

    Args:
        card: of the weights, like weights/mobilenet3d.json.
        data: folders of the cases that it names, or packed files.
        out: folder of the runs.
        device: as `train` takes it.
        devices: training processes, in place of the card's; the samples then are others.

    Returns:
        The weights file, in the last run's folder, and its manifest entry.

    Raises:
        TrainingError: a folder holds another run, or one was stopped; else as `read_stages` and `train`.
        WeightsError: as these.
    """
    stages = read_stages(card, data)
    licence = str(read_json(card).get("licence", ""))
    told = read_manifest(card.parent).get(f"{card.stem}{SUFFIX}")
    certainty = 1.0 if told is None else told.certainty
    made: list[Path] = []
    for number, stage in enumerate(stages, 1):
        folder = out / str(number)
        config = stage.config
        start = made[-1] if made else None
        changes: dict[str, Any] = {"model": config.model.model_copy(update={"start": start})}
        if devices is not None:
            changes["devices"] = devices
        config = config.model_copy(update=changes)
        steps = config.budget.steps or 0
        if _steps_taken(config, folder) < steps:
            complete(config, folder, device=device)
        made.append(folder / f"{config.model.name}.safetensors")
        mean_with = None if stage.mean_with is None else made[stage.mean_with]
        entry = export(
            folder,
            made[-1],
            licence=licence,
            mean_with=mean_with,
            share=stage.share,
            certainty=certainty,
        )
    return made[-1], entry


def _steps_taken(config: TrainingConfig, folder: Path) -> int:
    """The steps of the run in a folder, 0 where there is none.

    Raises:
        TrainingError: it is another run, such as that of another card.
    """
    if not (folder / LAST).exists():
        return 0
    continued(config, folder)
    return int(read_state(folder / LAST)["progress"]["step"])


def data_differ(card: Path, data: Sequence[Path]) -> bool:
    """Whether the cases are not those the card's weights were trained on, by their hashes."""
    told = read_json(card).get("data")
    used = data_hash(read_stages(card, data)[-1].config.data)
    return not isinstance(told, dict) or told.get("sha256") != used
