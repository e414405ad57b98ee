"""Models: encoders, prompts, decoders, and the factory that puts them together."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexor.errors import WeightsError
    from lexor.models.factory import ModelInfo, create_model, list_models
    from lexor.models.weights import save_weights

__all__ = ["ModelInfo", "WeightsError", "create_model", "list_models", "save_weights"]

_HOMES = {
    "ModelInfo": "lexor.models.factory",
    "WeightsError": "lexor.models.weights",
    "create_model": "lexor.models.factory",
    "list_models": "lexor.models.factory",
    "save_weights": "lexor.models.weights",
}


def __getattr__(name: str) -> Any:
    # Torch takes a second to import; nobody should pay it for a submodule's name.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
