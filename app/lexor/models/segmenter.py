"""What every model is to the rest of Lexor: a window's encoding, then masks for prompts in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from lexor.models.window_prompts import WindowPrompts


@dataclass(frozen=True)
class Encoding:
    """Prompt-free features of W windows: whatever a model's decoder wants, first axis W."""

    features: tuple[Tensor, ...]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Masks:
    """P answers.

    Attributes:
        logits: (P, 1, d, h, w), float32.
        quality: (P,) the overlap with the truth that the model expects, as logits.
        start: (P, 1, d, h, w), float32, the logits that prompts and intensities alone give, which the model
            corrects; None where it has no such starting point.
    """

    logits: Tensor
    quality: Tensor
    start: Tensor | None = None


class Segmenter(nn.Module, ABC):
    """A promptable model of a window.

    Attributes:
        window: (d, h, w) it was made for.
        zoom_out: what its first look spans: the whole "volume", or the "object" its prompt points at.
        zoom_gain: a second, finer look pays once a voxel of the first spans this many of the finest.
        certainty: share of its correction of the starting point (`Masks.start`) that inference keeps where nothing is
            clicked, 0..1. It belongs to the weights: their manifest entry says it.
    """

    window: tuple[int, int, int]
    zoom_out: Literal["volume", "object"]
    zoom_gain: float = 1.3
    certainty: float = 1.0

    @abstractmethod
    def encode(self, image: Float[Tensor, "W 1 d h w"]) -> Encoding:
        """Features of normalised windows, computed once and shared by all prompts."""

    @abstractmethod
    def masks(self, encoding: Encoding, index: Int[Tensor, " P"], prompts: WindowPrompts) -> Masks:
        """Answers to P prompts, prompt i in window index[i]; prompts do not influence one another."""
