"""The shape of nnInteractive's network, with random weights: how long one pass of it takes on this machine.

Source: nnU-Net's residual encoder, plan "L" (Isensee et al. 2024): six stages of residual blocks and a plain decoder;
nnInteractive 1.0 gives it patches of 192 voxels a side: the image and seven channels of what was said.
"""

from __future__ import annotations

import time
from itertools import pairwise

import torch
from torch import Tensor, nn

FEATURES = (32, 64, 128, 256, 320, 320)
BLOCKS = (1, 3, 4, 6, 6, 6)
SIDE = 192
CHANNELS = 8


def _convolution(width_in: int, width: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(width_in, width, kernel, stride, kernel // 2), nn.InstanceNorm3d(width, affine=True)
    )


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which is pooled and projected where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(width_in, width, stride)
        self.second = _convolution(width, width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool3d(stride))
        if width_in != width:
            self.shortcut.append(_convolution(width_in, width, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(nn.functional.leaky_relu(self.first(x)))
        return nn.functional.leaky_relu(inner + self.shortcut(x))


class ResidualEncoderUNet(nn.Module):
    """(B, channels, d, h, w) to logits of two classes, (B, 2, d, h, w); sides are multiples of 32."""

    def __init__(
        self,
        channels: int = CHANNELS,
        features: tuple[int, ...] = FEATURES,
        blocks: tuple[int, ...] = BLOCKS,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(channels, features[0]), nn.LeakyReLU())
        self.stages = nn.ModuleList()
        width_in = features[0]
        for stage, (width, count) in enumerate(zip(features, blocks, strict=True)):
            first = _Block(width_in, width, 1 if stage == 0 else 2)
            self.stages.append(nn.Sequential(first, *(_Block(width, width, 1) for _ in range(count - 1))))
            width_in = width
        downwards = list(pairwise(reversed(features)))
        self.up = nn.ModuleList(nn.ConvTranspose3d(low, high, 2, 2) for low, high in downwards)
        self.join = nn.ModuleList(
            nn.Sequential(_convolution(2 * high, high), nn.LeakyReLU()) for _, high in downwards
        )
        self.head = nn.Conv3d(features[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = self.stem(x)
        kept = []
        for stage in self.stages:
            x = stage(x)
            kept.append(x)
        kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), kept.pop()], dim=1))
        found: Tensor = self.head(x)
        return found


@torch.inference_mode()
def seconds_of_a_pass(side: int = SIDE) -> float:
    """Seconds of the second of two passes on the CPU, in the precision that pays there.

    Args:
        side: of the patch, a multiple of 32.
    """
    from lexor.inference.runner import low_precision

    model = ResidualEncoderUNet().eval()
    patch = torch.zeros(1, CHANNELS, side, side, side)
    dtype = low_precision(torch.device("cpu"))
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        # The first pass over a model pays for setting it up; a small one does it as well.
        model(patch[..., :64, :64, :64])
        began = time.perf_counter()
        model(patch)
    return time.perf_counter() - began
