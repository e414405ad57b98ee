"""Building blocks of convolutional encoders, made to train fast on CPUs: channels-last, float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.models.encoders import Encoder, Stride
from lexor.models.encoders.initial import kaiming_normal_


def padded_to_even(x: Float[Tensor, "B C D H W"], axes: int = 3) -> Float[Tensor, "B C d h w"]:
    """The map with a zero voxel after each of its last `axes` axes that is odd: halving then rounds up."""
    odd = [n % 2 for n in x.shape[: -1 - axes : -1]]
    return F.pad(x, [p for o in odd for p in (0, o)]) if any(odd) else x


class _DepthwiseConv(torch.autograd.Function):
    """Depthwise 3x3x3 convolution, stride 1, with a backward pass that is fast on CPUs.

    Torch's own takes a hundred times its forward pass there. Here the input's gradient is the same convolution
    with the kernel mirrored, and the weight's gradient three 2D ones, a kernel plane each, whose depthwise
    kernels are fast (measured in bfloat16 for 4x32x32x32x32 on one core: 7 ms).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv3d(x, weight, padding=1, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        channels = x.shape[1]
        grad_x = F.conv3d(grad, weight.flip(2, 3, 4), padding=1, groups=channels)
        batch, _, d, h, w = x.shape
        # Slices become the batch of a 2D convolution; in channels-last memory that is a view.
        padded = F.pad(x.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, 1, 1))
        slices = grad.permute(0, 2, 1, 3, 4).reshape(batch * d, channels, h, w)
        planes = []
        for i in range(3):
            shifted = padded[:, i : i + d].reshape(batch * d, h, w, channels).permute(0, 3, 1, 2)
            _, plane, _ = torch.ops.aten.convolution_backward(
                slices, shifted, weight[:, :, i], None, [1, 1], [1, 1], [1, 1], False, [0, 0], channels,
                [False, True, False],
            )  # fmt: skip
            planes.append(plane)
        return grad_x, torch.stack(planes, 2)


def depthwise_conv(
    x: Float[Tensor, "B C D H W"], weight: Float[Tensor, "C 1 3 3 3"], training: bool
) -> Float[Tensor, "B C D H W"]:
    """A 3x3x3 convolution of each channel with its own kernel, stride 1, same size."""
    weight = weight.to(x.dtype)
    if training and x.device.type == "cpu":
        out: Tensor = _DepthwiseConv.apply(x, weight)  # type: ignore[no-untyped-call]
        return out
    return F.conv3d(x, weight, padding=1, groups=x.shape[1])


class DepthwiseConv3d(nn.Module):
    """`depthwise_conv` with a learned kernel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3, 3))
        kaiming_normal_(self.weight)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        return depthwise_conv(x, self.weight, self.training)


class _ChannelsLastGradient(torch.autograd.Function):
    """The identity, whose gradient is handed on in channels-last memory.

    Torch 2.13's CPU batch norm computes a wrong input gradient, in silence, when its input is channels-last and
    the gradient it gets is not.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0].contiguous(memory_format=torch.channels_last_3d)


class InstanceNorm(nn.Module):
    """Instance normalisation with scale and shift, the same in training and after.

    Computed sample by sample through the batch-norm kernel, which keeps channels-last memory as it is and is
    seven times as fast on a CPU as torch's own group and instance norms in that layout.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        if x[0, 0].numel() == 1:  # a single voxel is its own mean
            return self.bias.to(x.dtype).view(1, -1, 1, 1, 1).expand_as(x)
        if x.device.type != "cpu":
            return F.instance_norm(x, weight=self.weight, bias=self.bias)
        samples = [
            F.batch_norm(s[None], None, None, self.weight, self.bias, training=True) for s in x.unbind(0)
        ]
        out: Tensor = _ChannelsLastGradient.apply(torch.cat(samples))  # type: ignore[no-untyped-call]
        return out


def normalisation(channels: int) -> nn.Module:
    """Instance norm at fine scales; group norm at coarse ones, whose maps may have a single voxel."""
    return InstanceNorm(channels) if channels < 256 else nn.GroupNorm(16, channels)


class SeparableBlock(nn.Module):
    """Residual depthwise 3x3x3 and pointwise convolution, normalised, SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv3d(channels)
        self.norm1 = normalisation(channels)
        self.pointwise = nn.Conv3d(channels, channels, 1, bias=False)
        self.norm2 = normalisation(channels)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B C D H W"]:
        y = F.silu(self.norm1(self.depthwise(x)))
        return F.silu(x + self.norm2(self.pointwise(y)))


class Downsample(nn.Module):
    """Halves each axis (rounding up) by a 2x2x2 convolution of stride 2 to the next width."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out, 2, stride=2, bias=False)
        self.norm = normalisation(out)

    def forward(self, x: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B E d h w"]:
        y: Tensor = self.norm(self.conv(padded_to_even(x)))
        return y


class Stem(nn.Sequential):
    """Convolution of stride (1, 2, 2) to the finest map, normalised; the caller activates it.

    A sequence of two, so that its parameters are `0.weight`, `1.weight` and `1.bias`.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__(
            nn.Conv3d(in_channels, width, (3, 4, 4), (1, 2, 2), padding=(1, 1, 1), bias=False),
            normalisation(width),
        )

    def forward(self, image: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B E D h w"]:
        out: Tensor = self[1](self[0](padded_to_even(image, axes=2)))
        return out


def pyramid(
    x: Float[Tensor, "B C d h w"], stages: Iterable[nn.Module], downsamples: Iterable[nn.Module]
) -> tuple[Tensor, ...]:
    """The map that each stage makes, fine to coarse: the first of `x`, the others of the one before, made coarser."""
    first, *rest = stages
    maps = [first(x)]
    for down, stage in zip(downsamples, rest, strict=True):
        maps.append(stage(down(maps[-1])))
    return tuple(maps)


class StagedEncoder(Encoder):
    """Stages of blocks at five scales, the map halved between them.

    `forward` takes (B, in_channels, D, H, W) and returns five maps, fine to coarse; sizes are rounded up. A subclass
    declares `widths`, makes its stem, then calls `add_stages`.
    """

    strides: tuple[Stride, ...] = ((1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16), (16, 32, 32))

    def add_stages(self, stages: Iterable[Iterable[nn.Module]]) -> None:
        """Takes the blocks of each stage, fine to coarse, and makes what halves the map between them."""
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.downsamples = nn.ModuleList(Downsample(width, out) for width, out in pairwise(self.widths))
