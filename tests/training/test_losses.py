import pytest
import torch
import torch.nn.functional as F

from lexor.models.segmenter import Masks
from lexor.training.config import LossConfig
from lexor.training.losses import dice_loss, focal_loss, segmentation_loss


def cube() -> torch.Tensor:
    target = torch.zeros(2, 1, 4, 8, 8)
    target[:, :, 1:3, 2:6, 2:6] = 1
    return target


def test_the_loss_prefers_the_truth() -> None:
    target = cube()
    right, score = segmentation_loss(Masks(target * 12 - 6, torch.full((2,), 6.0)), target, LossConfig())
    wrong, bad = segmentation_loss(Masks(6 - target * 12, torch.full((2,), 6.0)), target, LossConfig())
    assert float(right) < 0.1 < 1 < float(wrong)
    torch.testing.assert_close(score, torch.ones(2))
    assert float(bad.max()) < 0.05
    unsure, _ = segmentation_loss(Masks(target * 12 - 6, torch.full((2,), -6.0)), target, LossConfig())
    assert float(unsure) > float(right), "a right answer that says it is bad costs more"


def test_terms_have_known_values() -> None:
    target = cube()
    logits = torch.zeros_like(target)
    # 32 of 256 voxels, probability 1/2 everywhere: (2 * 16 + 10) / (128 + 32 + 10).
    assert float(dice_loss(logits, target)) == pytest.approx(1 - 42 / 170)
    # (1 - 1/2)^2 of the cross-entropy.
    assert float(focal_loss(logits, target)) == pytest.approx(0.25 * torch.log(torch.tensor(2.0)).item())


def test_weights_choose_the_terms() -> None:
    target = cube()
    logits = torch.linspace(-3, 3, target.numel()).view_as(target)
    masks = Masks(logits, torch.zeros(2))
    only = {"dice": 0.0, "entropy": 0.0, "focal": 0.0, "quality": 0.0}
    for name, wanted in (
        ("dice", dice_loss(logits, target)),
        ("entropy", F.binary_cross_entropy_with_logits(logits, target)),
        ("focal", focal_loss(logits, target)),
    ):
        loss, _ = segmentation_loss(masks, target, LossConfig(**(only | {name: 2.0})))
        assert float(loss) == pytest.approx(2 * float(wanted))
