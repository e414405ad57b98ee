"""MobileNet3D: the paper's light encoder (section 2.5), with spatial feature maps at every scale."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.models.encoders import Encoder, register_encoder
from lexor.models.encoders.blocks import Downsample, InstanceNorm, SeparableBlock, padded_to_even

WIDTHS = (32, 64, 128, 256, 512)
# Depth where it is cheap: the coarse scales hold the parameters, the fine ones the time.
DEPTHS = (1, 2, 3, 6, 7)


@register_encoder("mobilenet3d")
class MobileNet3D(Encoder):
    """Depthwise-separable encoder, 32-64-128-256-512 channels, five scales.

    `forward` takes (B, in_channels, D, H, W) and returns five maps, fine to coarse; sizes are rounded up.
    """

    strides = ((1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16), (16, 32, 32))
    widths = WIDTHS

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.stem = nn.Conv3d(in_channels, WIDTHS[0], (3, 4, 4), (1, 2, 2), padding=(1, 1, 1), bias=False)
        self.stem_norm = InstanceNorm(WIDTHS[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*(SeparableBlock(width) for _ in range(depth)))
            for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )
        self.downsamples = nn.ModuleList(Downsample(width, out) for width, out in pairwise(WIDTHS))

    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Tensor, ...]:
        x = F.silu(self.stem_norm(self.stem(padded_to_even(image, axes=2))))
        features = [self.stages[0](x)]
        for down, stage in zip(self.downsamples, list(self.stages)[1:], strict=True):
            features.append(stage(down(features[-1])))
        return tuple(features)
