"""Rounds of clicks on the model's own answers, as the evaluator gives them: what a click corrects is on policy."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lexor.geometry import Box
from lexor.inference.runner import hard_logits
from lexor.models.segmenter import Segmenter
from lexor.models.window_prompts import WindowPrompts
from lexor.training.samples import error_click

# Inference looks closer at what it found without a box, with the box that it measures on that
# (`inference.clicking`). So does a round, with this probability, and of those so many come without a new click.
CLOSER = 0.5
UNCLICKED = 0.5


@torch.no_grad()
def interact(
    model: Segmenter,
    image: Float[Tensor, "P 1 d h w"],
    target: Float[Tensor, "P 1 d h w"],
    prompts: WindowPrompts,
    rounds: int,
    rng: np.random.Generator,
) -> WindowPrompts:
    """The prompts after some rounds: in each the model answers, and its largest error is clicked.

    Args:
        model: on the device of all tensors.
        image: normalised windows.
        target: shares 0..1 of each voxel that belong to the target.
        prompts: of the first round, prompt i in window i.
        rounds: how many; an answer without an error gets no click.
        rng: breaks ties between equally deep voxels.

    Returns:
        The prompts with the clicks added, `previous` being the last answer as the evaluator hands it back, a mask;
        of a closer look without a click, the logits. Prompts without a box may have one measured on that answer.
    """
    truth = (target[:, 0] > 0.5).cpu().numpy()
    index = torch.arange(len(prompts), device=image.device)
    unboxed = (~prompts.has_box).tolist()
    encoding = model.encode(image)
    for _ in range(rounds):
        logits = model.masks(encoding, index, prompts).logits.float()
        answer = logits > 0
        masks, previous = answer[:, 0].cpu().numpy(), hard_logits(answer.float())
        boxes, z_mid = prompts.boxes.clone(), prompts.z_mid.clone()
        point, label = [(0.0, 0.0, 0.0)] * len(prompts), [-1] * len(prompts)
        for i, (mask, wanted) in enumerate(zip(masks, truth, strict=True)):
            closer = unboxed[i] and mask.any() and rng.random() < CLOSER
            if unboxed[i]:
                boxes[i], z_mid[i] = _measured(mask, boxes) if closer else (torch.nan, 0.0)
            if closer and rng.random() < UNCLICKED:
                previous[i] = logits[i]
            elif (click := error_click(mask, wanted, rng)) is not None:
                point[i], label[i] = click
        prompts = WindowPrompts(
            boxes,
            z_mid,
            torch.cat([prompts.points, prompts.points.new_tensor(point)[:, None]], 1),
            torch.cat([prompts.labels, prompts.labels.new_tensor(label)[:, None]], 1),
            previous,
        )
    return prompts


def _measured(mask: Bool[np.ndarray, "d h w"], like: Tensor) -> tuple[Tensor, float]:
    """The box of an answer as the challenge would measure it, (6,), and its z_mid."""
    box = Box.measured(mask)
    return like.new_tensor([*box.lower, *box.upper]), float(box.z_mid)
