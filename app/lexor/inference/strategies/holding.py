"""What no click corrects stays: the answer leans towards the last one, the more the farther from new clicks."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lexor.geometry import Voxel
from lexor.inference.merging import Answer
from lexor.inference.settings import SETTINGS
from lexor.inference.targets import Target

TUNED = SETTINGS.holding


def hold(answer: Answer, target: Target) -> Answer:
    """An answer that leans towards the target's last one, if there is one.

    A click of the challenge corrects one error; the rest was seen by the same model,
    or was set right by an earlier click. New clicks are those that the last answer does not honour.

    Args:
        answer: to the target's prompts of this round.
        target: with its last answer and all of its clicks.
    """
    if target.previous is None:
        return answer
    last = torch.from_numpy(target.previous[answer.where] == target.index)
    lean = torch.where(last, TUNED.lean, -TUNED.lean)
    for point in target.corrections:
        lean = lean * _far(answer, target, point)
    return replace(answer, logits=answer.logits + lean)


def _far(answer: Answer, target: Target, point: Voxel) -> Float[Tensor, "d h w"]:
    """How far each voxel of an answer is from a click: 0 there, nearly 1 at three `reach` of the target's size."""
    near = torch.ones(1, 1, 1)
    for axis in range(3):
        reach = TUNED.reach * max(target.upper[axis] - target.lower[axis], TUNED.least_size)
        place = answer.where[axis]
        distance = (torch.arange(place.start, place.stop) - point[axis]) / reach
        near = near * torch.exp(-distance.square() / 2).view([-1 if a == axis else 1 for a in range(3)])
    return 1 - near
