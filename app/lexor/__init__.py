"""Lexor: interactive and automatic segmentation of 3D medical images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lexor.cores import spare_the_cores

if TYPE_CHECKING:
    from lexor.inference.predictor import Predictor
    from lexor.inference.session import Session
    from lexor.io.case import read_case
    from lexor.models.factory import create_model, list_models
    from lexor.prompting import auto_prompt

__all__ = ["Predictor", "Session", "auto_prompt", "create_model", "list_models", "read_case"]

# Before anything imports torch.
spare_the_cores()

_HOMES = {
    "Predictor": "lexor.inference.predictor",
    "Session": "lexor.inference.session",
    "auto_prompt": "lexor.prompting",
    "create_model": "lexor.models.factory",
    "list_models": "lexor.models.factory",
    "read_case": "lexor.io.case",
}


def __getattr__(name: str) -> Any:
    # Torch takes a second to import, and even the version a fifth of what `lexor --help` takes.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("lexor")
        except PackageNotFoundError:  # a source tree on the path, not installed
            return "0+unknown"
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lexor' has no attribute {name!r}")
