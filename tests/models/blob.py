"""A transparent model, for tests of what is around models."""

from __future__ import annotations

import torch

from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts


class Blob(Segmenter):
    """Bright in the box is foreground, and so is what is next to foreground clicks, not next to others.

    Args:
        zoom_out: see `Segmenter`.
        reach: how far from a click is next to it, in voxels of the window, squared.
    """

    window = (8, 16, 16)

    def __init__(self, zoom_out: str, reach: float = 1.5) -> None:
        super().__init__()
        self.zoom_out = zoom_out  # type: ignore[assignment]
        self.reach = reach

    def encode(self, image: torch.Tensor) -> Encoding:
        return Encoding((image,), (image.shape[2], image.shape[3], image.shape[4]))

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        logits = encoding.features[0][index] * 3 - 1
        grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in logits.shape[2:]), indexing="ij"), -1)
        for prompt in range(len(index)):
            if prompts.has_box[prompt]:
                lower, upper = prompts.boxes[prompt].view(2, 3)
                logits[prompt, 0][~((grid + 0.5 > lower) & (grid + 0.5 < upper)).all(-1)] = -4.0
            for point, label in zip(prompts.points[prompt], prompts.labels[prompt], strict=True):
                if label >= 0:
                    near = ((grid - point) ** 2).sum(-1) <= self.reach
                    logits[prompt, 0] += near * (6.0 if label else -6.0)
        return Masks(logits, torch.zeros(len(index)))
