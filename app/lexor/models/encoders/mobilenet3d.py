"""MobileNet3D: the paper's light encoder (section 2.5), with spatial feature maps at every scale."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.models.encoders import register_encoder
from lexor.models.encoders.blocks import InstanceNorm, SeparableBlock, StagedEncoder, padded_to_even, pyramid

WIDTHS = (32, 64, 128, 256, 512)
# Depth where it is cheap: the coarse scales hold the parameters, the fine ones the time.
DEPTHS = (1, 2, 3, 6, 7)


@register_encoder("mobilenet3d", parameters=3_858_336)
class MobileNet3D(StagedEncoder):
    """Depthwise-separable encoder, 32-64-128-256-512 channels, five scales."""

    widths = WIDTHS

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.stem = nn.Conv3d(in_channels, WIDTHS[0], (3, 4, 4), (1, 2, 2), padding=(1, 1, 1), bias=False)
        self.stem_norm = InstanceNorm(WIDTHS[0])
        self.add_stages(
            [SeparableBlock(width) for _ in range(depth)] for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )

    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Tensor, ...]:
        x = F.silu(self.stem_norm(self.stem(padded_to_even(image, axes=2))))
        return pyramid(x, self.stages, self.downsamples)
