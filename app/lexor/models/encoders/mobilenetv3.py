"""MobileNetV3 in 3D: inverted residuals, squeeze-and-excitation, hard-swish (Howard et al. 2019).

Two departures: instance instead of batch norm, since a prompt's answer must not depend on its batch; and the map is
halved by a dense 2x2x2 convolution between stages, as a strided depthwise one trains slowly on CPUs.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.models.encoders import register_encoder
from lexor.models.encoders.blocks import DepthwiseConv3d, StagedEncoder, Stem, normalisation, pyramid

WIDTHS = (24, 40, 80, 160, 256)
DEPTHS = (1, 2, 4, 5, 3)
# How many times a block is wider inside.
EXPANSIONS = (1, 4, 4, 4, 3)
# Which stages reweight their channels; as in the original, not the finest.
SQUEEZED = (False, True, True, True, True)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in 0..1 that depends on the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // 4)
        self.expand = nn.Linear(channels // 4, channels)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        gate = F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3, 4))))))
        return x * gate[:, :, None, None, None].to(x.dtype)


class InvertedResidual(nn.Module):
    """Widens, filters each channel, reweights the channels, narrows again without an activation; residual."""

    def __init__(self, channels: int, expansion: int, squeeze: bool) -> None:
        super().__init__()
        inner = channels * expansion
        self.widen = (
            nn.Sequential(nn.Conv3d(channels, inner, 1, bias=False), normalisation(inner), nn.Hardswish())
            if expansion > 1
            else nn.Identity()
        )
        self.depthwise = DepthwiseConv3d(inner)
        self.norm = normalisation(inner)
        self.squeeze = SqueezeExcite(inner) if squeeze else nn.Identity()
        self.narrow = nn.Sequential(nn.Conv3d(inner, channels, 1, bias=False), normalisation(channels))

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        y = F.hardswish(self.norm(self.depthwise(self.widen(x))))
        out: Tensor = x + self.narrow(self.squeeze(y))
        return out


@register_encoder("mobilenetv3", parameters=5_273_176)
class MobileNetV3(StagedEncoder):
    """Inverted-residual encoder, 24-40-80-160-256 channels, five scales, about 5.4 M parameters."""

    widths = WIDTHS

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.stem = Stem(in_channels, WIDTHS[0])
        self.add_stages(
            [InvertedResidual(width, expansion, squeeze) for _ in range(depth)]
            for width, depth, expansion, squeeze in zip(WIDTHS, DEPTHS, EXPANSIONS, SQUEEZED, strict=True)
        )

    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Tensor, ...]:
        return pyramid(F.hardswish(self.stem(image)), self.stages, self.downsamples)
