import math

import pytest
import torch
import torch.nn.functional as F

from lexor.models.segmenter import Masks
from lexor.training.config import LossConfig
from lexor.training.losses import dice_loss, focal_loss, segmentation_loss
from lexor.training.samples import Truth


def cube() -> torch.Tensor:
    target = torch.zeros(2, 1, 4, 8, 8)
    target[:, :, 1:3, 2:6, 2:6] = 1
    return target


def seen(mask: torch.Tensor, hidden: float = 0.0, learnt: float = 1.0) -> Truth:
    return Truth(mask, torch.full((len(mask),), hidden), torch.full((len(mask),), learnt))


def test_the_loss_prefers_the_truth() -> None:
    target = cube()
    right, score = segmentation_loss(
        Masks(target * 12 - 6, torch.full((2,), 6.0)), seen(target), LossConfig()
    )
    wrong, bad = segmentation_loss(Masks(6 - target * 12, torch.full((2,), 6.0)), seen(target), LossConfig())
    assert float(right) < 0.1 < 1 < float(wrong)
    torch.testing.assert_close(score, torch.ones(2))
    assert float(bad.max()) < 0.05
    unsure, _ = segmentation_loss(Masks(target * 12 - 6, torch.full((2,), -6.0)), seen(target), LossConfig())
    assert float(unsure) > float(right), "a right answer that says it is bad costs more"


def test_terms_have_known_values() -> None:
    target = cube()
    logits = torch.zeros_like(target)
    # 32 of 256 voxels, probability 1/2 everywhere: (2 * 16 + 10) / (128 + 32 + 10).
    assert dice_loss(logits, target).tolist() == pytest.approx([1 - 42 / 170] * 2)
    # (1 - 1/2)^2 of the cross-entropy.
    assert focal_loss(logits, target).tolist() == pytest.approx([0.25 * math.log(2)] * 2)


def test_weights_choose_the_terms() -> None:
    target = cube()
    logits = torch.linspace(-3, 3, target.numel()).view_as(target)
    masks = Masks(logits, torch.zeros(2))
    only = {"dice": 0.0, "entropy": 0.0, "focal": 0.0, "quality": 0.0}
    for name, wanted in (
        ("dice", dice_loss(logits, target).mean()),
        ("entropy", F.binary_cross_entropy_with_logits(logits, target)),
        ("focal", focal_loss(logits, target).mean()),
    ):
        loss, _ = segmentation_loss(masks, seen(target), LossConfig(**(only | {name: 2.0})))
        assert float(loss) == pytest.approx(2 * float(wanted))


def test_what_a_view_hides_lowers_the_quality_alone() -> None:
    target = cube()
    masks = Masks(target * 12 - 6, torch.full((2,), 6.0))
    whole, _ = segmentation_loss(masks, seen(target), LossConfig(quality=0))
    part, score = segmentation_loss(masks, seen(target, hidden=64), LossConfig(quality=0))
    assert float(part) == float(whole)
    # 32 voxels found of 96: twice 32 over 32 + 32 + 64, each with the one that keeps empty masks defined.
    assert score.tolist() == pytest.approx([65 / 129] * 2)


def test_only_the_quality_of_a_doubtful_prompt_is_learnt() -> None:
    logits = torch.zeros(2, 1, 4, 8, 8, requires_grad=True)
    quality = torch.zeros(2, requires_grad=True)
    loss, score = segmentation_loss(Masks(logits, quality), seen(cube(), learnt=0), LossConfig())
    loss.backward()
    assert logits.grad is not None
    assert quality.grad is not None
    assert not logits.grad.any()
    # The gradient of a cross-entropy: the sigmoid less the score, over the batch; its weight is a tenth.
    torch.testing.assert_close(quality.grad, 0.1 * (0.5 - score) / 2)
