"""Cases in, labels out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from lexor.inference.engine import Engine
from lexor.inference.prediction import Prediction
from lexor.inference.runner import Runner
from lexor.inference.session import Session
from lexor.inference.settings import SETTINGS, Zoom
from lexor.inference.targets import PromptMode
from lexor.io.case import Case
from lexor.models.segmenter import Segmenter

__all__ = ["Prediction", "Predictor"]


class Predictor:
    """Segments cases with one model on one device, each in a session of its own.

    Args:
        model: a name of `list_models()`, or a segmenter.
        device: "auto", "cpu" or "cuda".
        weights: a .safetensors file instead of the bundled one.
        batch: prompts per forward pass; chosen by device when None.
        zoom: settings of the second look; None skips it.

    Raises:
        WeightsError: the model's weights are missing, damaged or another model's.
        ValueError: unknown model or device.
    """

    def __init__(
        self,
        model: str | Segmenter = "mobilenet3d",
        device: str = "auto",
        *,
        weights: str | Path | None = None,
        batch: int | None = None,
        zoom: Zoom | None = SETTINGS.zoom,
    ) -> None:
        self.engine = Engine(model, device, weights=weights, batch=batch, zoom=zoom)

    @property
    def runner(self) -> Runner:
        """Of the model."""
        return self.engine.runner

    def session(self, case: Case) -> Session:
        """A session on a case, with its prompts."""
        session = Session(engine=self.engine)
        session.open(case)
        return session

    def predict(self, case: Case, prompt: PromptMode = "given") -> Integer[np.ndarray, "D H W"]:
        """Labels (D, H, W) of a case; see `segment`."""
        return self.segment(case, prompt).labels

    def segment(
        self,
        case: Case,
        prompt: PromptMode = "given",
        top: int = 1,
        *,
        strict: bool = False,
        probabilities: bool = False,
    ) -> Prediction:
        """Every class of a case; see `Session.predict`."""
        return self.session(case).predict(prompt, top, strict=strict, probabilities=probabilities)
