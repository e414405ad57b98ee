"""What SegVol's own code answers, at a few voxels, to seeded weights and noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]
KINDS = ("boxes", "points", "both")


@dataclass(frozen=True)
class Golden:
    """Prompts of a window, and what is answered to them.

    Attributes:
        window: its (d, h, w).
        box: (1, 6), closed.
        points: (1, 3, 3) and their labels; the last is no point.
        voxels: indices of four voxels, as lists of z, y and x.
        logits: by kind of prompt, those of the voxels, and the mean of all.
    """

    window: Shape
    box: Tensor
    points: tuple[Tensor, Tensor]
    voxels: tuple[list[int], list[int], list[int]]
    logits: Mapping[str, tuple[list[float], float]]

    def prompts(self, kind: str) -> dict[str, Tensor | tuple[Tensor, Tensor] | None]:
        """Arguments of a model's forward."""
        return {
            "boxes": self.box if kind != "points" else None,
            "points": self.points if kind != "boxes" else None,
        }

    def gap(self, kind: str, logits: Tensor) -> float:
        """The largest difference of logits (1, 1, d, h, w) from what is answered."""
        at, mean = self.logits[kind]
        found = torch.cat([logits[0, 0][self.voxels], logits.mean()[None]])
        return float((found - torch.tensor([*at, mean])).abs().max())


# Made by SegVol's own modules (BAAI-DCAI/SegVol: PromptEncoder, MaskDecoder, TwoWayTransformer; MONAI 1.3.2's
# ViT with perceptron patches; width 64, 2 layers of 4 heads, 8 decoder heads) on `seeded_state` and
# `seeded_image`, interpolated trilinearly to the window as in its published forward.
SMALL = Golden(
    window=(16, 64, 64),
    box=torch.tensor([[2.0, 10, 20, 9, 40, 50]]),
    points=(torch.tensor([[[3.0, 20, 30], [8, 50, 10], [1, 2, 3]]]), torch.tensor([[1, 0, -1]])),
    voxels=([0, 5, 9, 15], [0, 20, 40, 63], [63, 30, 50, 0]),
    logits={
        "boxes": ([0.04173, 0.26062, -0.28542, -0.09647], -0.0081222),
        "points": ([0.20465, 0.13192, -0.35774, -0.14942], -0.0261877),
        "both": ([0.26786, 0.11686, -0.40023, -0.09099], -0.0232817),
    },
)

# As above, by its `SegVol.forward` (commit 5768c97) at its published size, 768 x 12. against_segvol.py makes these
# again, and compares all logits with ours.
FULL = Golden(
    window=(32, 256, 256),
    box=torch.tensor([[5.0, 40, 60, 22, 180, 200]]),
    points=(torch.tensor([[[10.0, 100, 130], [20, 30, 200], [1, 2, 3]]]), torch.tensor([[1, 0, -1]])),
    voxels=([0, 9, 17, 31], [0, 80, 160, 255], [255, 120, 60, 0]),
    logits={
        "boxes": ([-0.23327, -0.37205, -0.01759, -1.70366], -0.5116993),
        "points": ([-0.18496, -0.11366, -0.08419, -1.12522], -0.2844478),
        "both": ([-0.06831, -0.30229, -0.08942, -1.6058], -0.4390233),
    },
)


def seeded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the names and shapes of a published model's, each drawn by its place in the alphabet."""
    return {name: _seeded(name, tuple(state[name].shape), i) for i, name in enumerate(sorted(state))}


def _seeded(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Weights of unit gain for matrices, near 1 for scales, near 0 for biases."""
    uniform = 2 * np.random.default_rng(seed).random(shape) - 1
    if name.endswith("matrix"):
        values = uniform
    elif len(shape) == 1 or ".output_upscaling.1." in name:
        values = 0.2 * uniform + name.endswith("weight")
    else:
        values = uniform * (3 / np.prod(shape[1:])) ** 0.5 if shape[0] > 1 else uniform
    return torch.from_numpy(values).float()


def seeded_image(window: Shape) -> Tensor:
    """Noise (1, 1, d, h, w) in -2..2."""
    return torch.from_numpy(4 * np.random.default_rng(999).random((1, 1, *window)) - 2).float()
