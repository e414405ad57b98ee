"""Losses of a batch of answers: overlap, voxel by voxel, and the quality each answer claims."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lexor.models.segmenter import Masks
from lexor.training.config import LossConfig
from lexor.training.samples import Truth

AXES = (1, 2, 3, 4)
# Keeps the overlap of small targets from jumping.
SMOOTH = 10.0
FOCUS = 2.0


def segmentation_loss(output: Masks, truth: Truth, weights: LossConfig) -> tuple[Tensor, Float[Tensor, " B"]]:
    """The weighted sum of Dice, cross-entropy, focal and quality terms; and each answer's hard Dice, detached.

    The quality is that of the whole target, seen or not; the other terms are of what is seen, where it is learnt.

    Args:
        output: logits and quality of the batch.
        truth: of the batch.
        weights: of the terms; those of weight zero are not computed.
    """
    logits, target = output.logits.float(), truth.mask
    terms = logits.new_zeros(len(logits))
    if weights.dice:
        terms = terms + weights.dice * dice_loss(logits, target)
    if weights.entropy:
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        terms = terms + weights.entropy * entropy.mean(AXES)
    if weights.focal:
        terms = terms + weights.focal * focal_loss(logits, target)
    loss = (terms * truth.learnt).mean()
    with torch.no_grad():
        hard, inside = logits > 0, target > 0.5
        size = hard.sum(AXES) + inside.sum(AXES) + truth.hidden
        score = (2 * (hard & inside).sum(AXES) + 1) / (size + 1)
    # Also at weight zero: its parameters then have a gradient, zero, in every process.
    quality = F.binary_cross_entropy_with_logits(output.quality.float(), score)
    return loss + weights.quality * quality, score


def dice_loss(logits: Tensor, target: Tensor) -> Float[Tensor, " B"]:
    """1 - soft Dice of each answer."""
    probability = torch.sigmoid(logits)
    overlap = (probability * target).sum(AXES)
    dice = (2 * overlap + SMOOTH) / (probability.sum(AXES) + target.sum(AXES) + SMOOTH)
    return 1 - dice


def focal_loss(logits: Tensor, target: Tensor) -> Float[Tensor, " B"]:
    """MONAI's focal loss (Lin et al. 2017, gamma 2, no class weight), mean over the voxels of each answer."""
    from monai.losses.focal_loss import FocalLoss

    loss: Tensor = FocalLoss(gamma=FOCUS, reduction="none")(logits, target)
    return loss.mean(AXES)
