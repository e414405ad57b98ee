"""FastViT in 3D: convolutional stages with re-parameterisable token mixing, attention in the last (Vasu et al. 2023).

The original's branches are batch-normalised, and folded once its statistics are fixed. Here branches are scaled
instead (as in OREPA, Hu et al. 2022): they are linear at all times, so their sum is one depthwise kernel already
while training, which costs a single convolution, and `fuse` changes nothing but the number of parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.models.encoders import register_encoder
from lexor.models.encoders.blocks import (
    DepthwiseConv3d,
    StagedEncoder,
    Stem,
    depthwise_conv,
    normalisation,
    pyramid,
)
from lexor.models.encoders.initial import kaiming_normal_
from lexor.models.encoders.vit import FeedForward, SelfAttention

WIDTHS = (32, 64, 128, 256, 512)
DEPTHS = (1, 2, 3, 4, 2)
# How many times a block's feed-forward is wider inside.
EXPANSIONS = (2, 2, 3, 3, 4)
HEAD_WIDTH = 32
# A mixer starts near the identity.
BRANCH_SCALE = 0.2


class RepMixer(nn.Module):
    """Mixes neighbouring voxels of each channel: x + sum of scaled depthwise convolutions, which is one of them.

    Its branches see 3x3x3 voxels, 1x3x3 (a slice; slices may be far apart) and the voxel itself.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.space = nn.Parameter(torch.empty(channels, 1, 3, 3, 3))
        self.plane = nn.Parameter(torch.empty(channels, 1, 1, 3, 3))
        self.voxel = nn.Parameter(torch.ones(channels, 1, 1, 1, 1))
        for kernel in (self.space, self.plane):
            kaiming_normal_(kernel)
        self.scales = nn.Parameter(torch.full((3, channels, 1, 1, 1, 1), BRANCH_SCALE))
        self.fused: nn.Parameter | None = None

    def kernel(self) -> Float[Tensor, "C 1 3 3 3"]:
        """The one kernel that all branches and the identity amount to."""
        if self.fused is not None:
            return self.fused
        space, plane, voxel = self.scales.unbind()
        kernel = space * self.space + F.pad(plane * self.plane, [0, 0, 0, 0, 1, 1])
        return kernel + F.pad(voxel * self.voxel + 1, [1] * 6)

    def fuse(self) -> None:
        """Puts the kernel in the branches' place, for good; outputs stay the same."""
        self.fused = nn.Parameter(self.kernel().detach())
        for branch in ("space", "plane", "voxel", "scales"):
            if hasattr(self, branch):
                delattr(self, branch)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        return depthwise_conv(x, self.kernel(), self.training)


class ConvFeedForward(nn.Module):
    """Depthwise convolution, normalised, then two pointwise ones with a GELU between; residual."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv3d(channels)
        self.norm = normalisation(channels)
        self.widen = nn.Conv3d(channels, hidden, 1)
        self.narrow = nn.Conv3d(hidden, channels, 1)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        out: Tensor = x + self.narrow(F.gelu(self.widen(self.norm(self.depthwise(x)))))
        return out


class AttentionBlock(nn.Module):
    """Self-attention of all voxels, their places told by a depthwise mixer before, and a feed-forward."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.position = RepMixer(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, channels // HEAD_WIDTH)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, hidden)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        shape = x.shape
        tokens = self.position(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.norm1(tokens))
        tokens = tokens + self.feed_forward(self.norm2(tokens))
        out: Tensor = tokens.transpose(1, 2).reshape(shape)
        return out


@register_encoder("fastvit", parameters=9_757_760)
class FastViT(StagedEncoder):
    """Hybrid encoder, 32-64-128-256-512 channels, five scales, about 10 M parameters."""

    widths = WIDTHS

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.stem = Stem(in_channels, WIDTHS[0])
        self.add_stages(
            [self._block(width, expansion * width) for _ in range(depth)]
            for width, depth, expansion in zip(WIDTHS, DEPTHS, EXPANSIONS, strict=True)
        )

    @staticmethod
    def _block(width: int, hidden: int) -> nn.Module:
        if width == WIDTHS[-1]:
            return AttentionBlock(width, hidden)
        return nn.Sequential(RepMixer(width), ConvFeedForward(width, hidden))

    def fuse(self) -> None:
        """Re-parameterises every mixer for inference. Outputs stay the same; its weights then fit no other."""
        for module in self.modules():
            if isinstance(module, RepMixer):
                module.fuse()

    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Tensor, ...]:
        return pyramid(F.gelu(self.stem(image)), self.stages, self.downsamples)
