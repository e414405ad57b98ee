"""From a run to weights: a card that says how they were made, and shards for where files must be small."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import yaml

from lexor.models.factory import create_model
from lexor.models.weights import ManifestEntry, file_hash, save_weights
from lexor.protocol.sources import source_of
from lexor.training.config import DataConfig, TrainingConfig, TrainingError, load_config
from lexor.training.means import SHARE, mean_of
from lexor.training.pack import manifest_of
from lexor.training.records import LOG, read_log
from lexor.training.state import AVERAGE, CONFIG, LAST, origin_in, read_state
from lexor.training.subjects import Subjects

UNKNOWN = "unknown; no manifest.csv says it"


def export(
    run: Path,
    path: Path,
    *,
    licence: str,
    mean_with: Path | None = None,
    share: float | None = None,
    dtype: torch.dtype = torch.float16,
    certainty: float = 1.0,
) -> ManifestEntry:
    """Writes a run's averaged weights, with their card and their entry in the folder's manifest.

    Args:
        run: folder of `train`.
        path: the .safetensors file.
        licence: of the weights, SPDX identifier; the most demanding of the data's.
        mean_with: weights of the same model, such as those the run started from; a mean of both is written, which
            forgets less of what these knew.
        share: of `mean_with` in that mean; half where left out.
        dtype: on disk.
        certainty: see `Segmenter`.

    Raises:
        TrainingError: the folder is not a finished or interrupted run, or its data have moved.
        WeightsError: the weights cannot be written so.
        ValueError: a share without `mean_with`.
    """
    if share is not None and mean_with is None:
        raise ValueError("--share: of what? give --mean-with, the other weights of the mean")
    if not (run / CONFIG).is_file():
        raise TrainingError(f"{run}: holds no run; give a folder that `lexor train` left")
    config = load_config(run / CONFIG)
    state = read_state(run / LAST)
    origin = origin_in(state, config.model.start)
    training = describe_training(config, state["progress"], origin, run, f"{path.stem}.json")
    if mean_with is None:
        model = create_model(config.model.name, weights=run / AVERAGE)
    else:
        share = SHARE if share is None else share
        model = mean_of(config.model.name, run / AVERAGE, mean_with, share)
        training["mean_with"] = {"file": mean_with.name, "sha256": file_hash(mean_with), "share": share}
    card = {
        "model": config.model.name,
        "licence": licence,
        "data": describe_data(config),
        "training": training,
    }
    return save_weights(
        model,
        path,
        architecture=config.model.name,
        licence=licence,
        card=card,
        dtype=dtype,
        certainty=certainty,
    )


def describe_data(config: TrainingConfig) -> dict[str, Any]:
    """The cases that were used, by source, with licences where the data's manifest.csv names them, and hashes."""
    names = [entry.name for entry in Subjects(config.data).entries]
    licences: dict[str, Counter[str]] = {}
    known = _licences(config.data.paths)
    for name in names:
        licences.setdefault(source_of(name), Counter())[known.get(name, UNKNOWN)] += 1
    return {
        "real": [
            {"source": source, "licence": licence, "volumes": count}
            for source, counts in sorted(licences.items())
            for licence, count in sorted(counts.items())
        ],
        "sha256": data_hash(config.data),
        "sha256_of": "json.dumps({case: sha256 of its file}, sort_keys=True) of the cases used",
        "synthetic": f"lexor.training.synthetic, {1 - config.mix.real if names else 1:.0%} of the samples",
    }


def data_hash(data: DataConfig) -> str:
    """One sha256 of all cases that are used, by name and content."""
    hashes = manifest_of(data)
    used = {entry.name: hashes[entry.name] for entry in Subjects(data).entries}
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def describe_training(
    config: TrainingConfig, state: dict[str, Any], origin: dict[str, Any], run: Path, card: str
) -> dict[str, Any]:
    """How to make the weights again, and what it took.

    Where the data lie is left to the command: it differs by machine. How the weights that the run started from were
    made is told in "before", as far as their own card tells it.
    """
    rows = read_log(run / LOG)
    values = yaml.safe_load(config.dump())
    for key in ("paths", "labels"):
        values["data"].pop(key)
    values["model"].pop("start")
    command = f"lexor retrain weights/{card}"
    if config.data.paths:
        command += " --data FOLDER_OR_PACK"
    facts: dict[str, Any] = {"config": values, "seed": config.seed}
    before = {}
    if origin:
        facts["start"] = {"file": origin["file"], "sha256": origin["sha256"]}
        before = dict(origin["before"])
        before.pop("command", None)
        if not before:
            command = f"none: no card tells how {origin['file']}, which the run started from, was made"
    facts["command"] = command
    facts |= {
        "steps": state["step"],
        "samples": state["samples"],
        "device_seconds": round(state["seconds"] * state["processes"]),
    }
    if rows:
        facts |= {"last_loss": rows[-1]["loss"], "last_dice": rows[-1]["dice"]}
    return {**facts, "before": before} if before else facts


def _licences(paths: tuple[Path, ...]) -> dict[str, str]:
    """Licences by case name, of the manifest.csv in or beside the folders."""
    found: dict[str, str] = {}
    for path in paths:
        for file in (path / "manifest.csv", path.parent / "manifest.csv"):
            if not file.is_file():
                continue
            with file.open(newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    if "file" not in row or "licence" not in row:
                        raise TrainingError(f"{file}: has no columns file and licence; add them")
                    found[Path(row["file"]).stem] = row["licence"]
            break
    return found
