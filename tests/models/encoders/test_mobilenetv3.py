"""The blocks of MobileNetV3."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lexor.models.encoders.mobilenetv3 import InvertedResidual, SqueezeExcite


def test_squeeze_excitation_scales_channels_by_a_gate_of_their_means() -> None:
    torch.manual_seed(0)
    block = SqueezeExcite(8)
    x = torch.randn(2, 8, 3, 4, 5)
    means = x.mean((2, 3, 4))
    gate = (
        F.relu(means @ block.reduce.weight.T + block.reduce.bias) @ block.expand.weight.T + block.expand.bias
    )
    gate = ((gate + 3) / 6).clamp(0, 1)
    torch.testing.assert_close(block(x), x * gate[:, :, None, None, None])
    assert gate.std() > 0


def test_a_block_is_residual_and_ends_without_an_activation() -> None:
    torch.manual_seed(0)
    block = InvertedResidual(8, 4, squeeze=True).eval()
    assert block.depthwise.weight.shape == (32, 1, 3, 3, 3)
    x = torch.randn(1, 8, 4, 6, 6)
    with torch.no_grad():
        assert float((block(x) - x).min()) < 0
        torch.nn.init.zeros_(block.narrow[0].weight)
        torch.testing.assert_close(block(x), x)


def test_a_block_that_does_not_widen_has_no_convolution_for_it() -> None:
    names = {name.split(".")[0] for name, _ in InvertedResidual(8, 1, squeeze=False).named_parameters()}
    assert names == {"depthwise", "norm", "narrow"}
