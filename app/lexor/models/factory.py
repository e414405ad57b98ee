"""Models by name: what they are made of, and which weights belong to them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from lexor.models.encoders import Encoder
from lexor.models.segmenter import Segmenter
from lexor.models.weights import (
    bundled_weights,
    count_parameters,
    find_weights,
    load_weights,
    read_card,
    read_manifest,
)


@dataclass(frozen=True)
class Architecture:
    """A model as data: who builds it, with which options, and its bundled weights.

    Attributes:
        module, function: what is called, imported only then.
        options: keyword arguments.
        weights: file name of its bundled weights.
    """

    module: str
    function: str
    options: Mapping[str, Any]
    weights: str

    def build(self) -> Segmenter:
        """A randomly initialised model."""
        model: Segmenter = getattr(import_module(self.module), self.function)(**self.options)
        return model


_LIGHT = ("lexor.models.light.network", "LightSegmenter")
_SEGVOL = ("lexor.models.segvol.network", "build_segvol")
# An object-centric window is a fraction of SegVol's, and so are its patches.
_PATCHES = {"window": (24, 48, 48), "patch": (4, 8, 8)}
ARCHITECTURES: Mapping[str, Architecture] = {
    "mobilenet3d": Architecture(*_LIGHT, {"encoder": "mobilenet3d"}, "mobilenet3d.safetensors"),
    "mobilenetv3": Architecture(*_LIGHT, {"encoder": "mobilenetv3"}, "mobilenetv3.safetensors"),
    "fastvit": Architecture(*_LIGHT, {"encoder": "fastvit"}, "fastvit.safetensors"),
    "vit_s": Architecture(*_LIGHT, {"encoder": "vit_s", "options": _PATCHES}, "vit_s.safetensors"),
    "vit_b": Architecture(*_LIGHT, {"encoder": "vit_b", "options": _PATCHES}, "vit_b.safetensors"),
    "segvol_vit_s": Architecture(*_SEGVOL, {"encoder": "vit_s"}, "segvol_vit_s.safetensors"),
    # SegVol as published: what its community's weights were trained with.
    "segvol_vit_b": Architecture(
        *_SEGVOL, {"encoder": "vit_b", "published": True}, "segvol_vit_b.safetensors"
    ),
}


@dataclass(frozen=True)
class ModelInfo:
    """A row of `lexor models`.

    Attributes:
        name: what `create_model` takes.
        parameters: learned values of the whole model.
        encoder_parameters: those of its image encoder.
        weights: its bundled weights file, None if there is none here.
        licence: of the weights, SPDX identifier; None without weights.
        scores: of the weights' card, the numbers by name; empty without.
    """

    name: str
    parameters: int
    encoder_parameters: int
    weights: Path | None = None
    licence: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def bundled(self) -> bool:
        """Whether there are weights of it here."""
        return self.weights is not None


def create_model(
    name: str,
    *,
    weights: str | Path | Literal["bundled"] | None = "bundled",
    device: str | torch.device = "cpu",
    seed: int | None = None,
) -> Segmenter:
    """A model ready to predict (in evaluation mode).

    Args:
        name: one of `list_models()`.
        weights: "bundled", a .safetensors file, or None for a random initialisation.
        device: where it shall be.
        seed: of the random initialisation; the global generator is left as it was. None: from that generator.

    Raises:
        ValueError: no model of that name.
        WeightsError: its weights are not there, damaged, or another model's.
    """
    architecture = _architecture(name)
    if weights is None:
        if seed is None:
            model = architecture.build()
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = architecture.build()
    else:
        path = bundled_weights(architecture.weights, name) if weights == "bundled" else Path(weights)
        # Values that the file replaces need not be drawn first.
        with torch.device("meta"):
            model = architecture.build()
        entry = load_weights(model, path, architecture=name)
        if entry is not None:
            model.certainty = entry.certainty
    return model.eval().to(device)


def list_models() -> list[ModelInfo]:
    """All models, those with weights first, with what is known of these.

    Raises:
        WeightsError: a weights folder's manifest or card cannot be read.
    """
    found = [_describe(name, architecture) for name, architecture in ARCHITECTURES.items()]
    return sorted(found, key=lambda model: not model.bundled)


def licence_of(name: str) -> str | None:
    """The licence of a model's bundled weights, an SPDX identifier; None where there are none.

    Raises:
        ValueError: no model of that name.
        WeightsError: the weights folder's manifest cannot be read.
    """
    path = find_weights(_architecture(name).weights)
    entry = None if path is None else read_manifest(path.parent).get(path.name)
    return None if entry is None else entry.licence


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no model {name!r}; {hint}known are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _describe(name: str, architecture: Architecture) -> ModelInfo:
    with torch.device("meta"):
        model = architecture.build()
    parameters = count_parameters(model)
    encoder = sum(count_parameters(part) for part in model.modules() if isinstance(part, Encoder))
    path = find_weights(architecture.weights)
    entry = None if path is None else read_manifest(path.parent).get(path.name)
    if path is None or entry is None:
        return ModelInfo(name, parameters, encoder)
    scores = read_card(path).get("scores")
    numbers = (
        {k: float(v) for k, v in scores.items() if isinstance(v, int | float)}
        if isinstance(scores, dict)
        else {}
    )
    return ModelInfo(name, parameters, encoder, path, entry.licence, numbers)
