"""Rounds of clicks on the model's own answers, as the evaluator gives them: what a click corrects is on policy."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lexor.inference.runner import hard_logits
from lexor.models.prompts import WindowPrompts
from lexor.models.segmenter import Segmenter
from lexor.training.samples import error_click


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
        The prompts with the clicks added, `previous` being the last answer as the evaluator hands it back: a mask.
    """
    truth = (target[:, 0] > 0.5).cpu().numpy()
    index = torch.arange(len(prompts), device=image.device)
    encoding = model.encode(image)
    for _ in range(rounds):
        answer = model.masks(encoding, index, prompts).logits > 0
        clicks = [
            error_click(mask, wanted, rng)
            for mask, wanted in zip(answer[:, 0].cpu().numpy(), truth, strict=True)
        ]
        point = [(0.0, 0.0, 0.0) if click is None else click[0] for click in clicks]
        label = [-1 if click is None else click[1] for click in clicks]
        prompts = WindowPrompts(
            prompts.boxes,
            prompts.z_mid,
            torch.cat([prompts.points, prompts.points.new_tensor(point)[:, None]], 1),
            torch.cat([prompts.labels, prompts.labels.new_tensor(label)[:, None]], 1),
            hard_logits(answer.float()),
        )
    return prompts
