"""Losses of a batch of answers: overlap, voxel by voxel, and the quality each answer claims."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lexor.models.segmenter import Masks
from lexor.training.config import LossConfig

AXES = (1, 2, 3, 4)
# Keeps the overlap of small targets from jumping.
SMOOTH = 10.0
FOCUS = 2.0


def segmentation_loss(
    output: Masks, target: Float[Tensor, "B 1 d h w"], weights: LossConfig
) -> tuple[Tensor, Float[Tensor, " B"]]:
    """The weighted sum of Dice, cross-entropy, focal and quality terms; and each answer's hard Dice, detached.

    Args:
        output: logits and quality of the batch.
        target: 0..1, fractions where a voxel is partly inside.
        weights: of the terms; those of weight zero are not computed.
    """
    logits = output.logits.float()
    loss = logits.new_zeros(())
    if weights.dice:
        loss = loss + weights.dice * dice_loss(logits, target)
    if weights.entropy:
        loss = loss + weights.entropy * F.binary_cross_entropy_with_logits(logits, target)
    if weights.focal:
        loss = loss + weights.focal * focal_loss(logits, target)
    with torch.no_grad():
        hard, truth = logits > 0, target > 0.5
        score = (2 * (hard & truth).sum(AXES) + 1) / (hard.sum(AXES) + truth.sum(AXES) + 1)
    # Also at weight zero: its parameters then have a gradient, zero, in every process.
    quality = F.binary_cross_entropy_with_logits(output.quality.float(), score)
    return loss + weights.quality * quality, score


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice, mean over the batch."""
    probability = torch.sigmoid(logits)
    overlap = (probability * target).sum(AXES)
    dice = (2 * overlap + SMOOTH) / (probability.sum(AXES) + target.sum(AXES) + SMOOTH)
    return (1 - dice).mean()


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """MONAI's focal loss (Lin et al. 2017, gamma 2, no class weight), mean over voxels."""
    from monai.losses.focal_loss import FocalLoss

    loss: Tensor = FocalLoss(gamma=FOCUS)(logits, target)
    return loss
