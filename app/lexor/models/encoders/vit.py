"""SegVol's image encoder: a plain vision transformer on 4x16x16 patches (paper section 2.1).

Parameters are named and shaped as in MONAI's ViT with perceptron patches, on which SegVol's published weights
were trained, so that they load by name.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.models.encoders import Encoder, Stride, register_encoder
from lexor.models.encoders.initial import trunc_normal_

WINDOW = (32, 256, 256)
PATCH = (4, 16, 16)


class Patches(nn.Module):
    """Cuts an image into patches, each a row of its voxels in (z, y, x, channel) order."""

    def __init__(self, patch: Stride) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, image: Float[Tensor, "B C D H W"]) -> Float[Tensor, "B N V"]:
        batch, channels = image.shape[:2]
        pz, py, px = self.patch
        d, h, w = image.shape[2] // pz, image.shape[3] // py, image.shape[4] // px
        cells = image.reshape(batch, channels, d, pz, h, py, w, px)
        return cells.permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(batch, d * h * w, pz * py * px * channels)


class PatchEmbedding(nn.Module):
    """A linear map of each patch, plus a learned embedding of its place in the declared window."""

    def __init__(self, in_channels: int, width: int, window: Stride, patch: Stride) -> None:
        super().__init__()
        self.patch = patch
        self.grid = (window[0] // patch[0], window[1] // patch[1], window[2] // patch[2])
        voxels = in_channels * math.prod(patch)
        self.patch_embeddings = nn.Sequential(Patches(patch), nn.Linear(voxels, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, math.prod(self.grid), width))
        trunc_normal_(self.position_embeddings)

    def positions(self, grid: Stride) -> Float[Tensor, "1 N E"]:
        """Embeddings of a grid: the learned ones, resampled trilinearly where it is not the window's own."""
        if grid == self.grid:
            return self.position_embeddings
        learned = self.position_embeddings.transpose(1, 2).reshape(1, -1, *self.grid)
        resampled = F.interpolate(learned.float(), size=grid, mode="trilinear", align_corners=False)
        return resampled.flatten(2).transpose(1, 2)

    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Float[Tensor, "B N E"], Stride]:
        rest = [-n % p for n, p in zip(image.shape[2:], self.patch, strict=True)]
        if any(rest):
            # Zero is the mean of a normalised image.
            image = F.pad(image, [0, rest[2], 0, rest[1], 0, rest[0]])
        d, h, w = (n // p for n, p in zip(image.shape[2:], self.patch, strict=True))
        return self.patch_embeddings(image) + self.positions((d, h, w)), (d, h, w)


class SelfAttention(nn.Module):
    """Multi-head self-attention; the joint projection has no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        batch, count, width = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.out_proj(out.transpose(1, 2).reshape(batch, count, width))
        return projected


class FeedForward(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        out: Tensor = self.linear2(F.gelu(self.linear1(x)))
        return out


class TransformerBlock(nn.Module):
    """Self-attention and feed-forward, each on normalised input and residual."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden)

    def forward(self, x: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ViT(Encoder):
    """Vision transformer with one feature map, at the stride of its patches.

    Args:
        in_channels: channels of the image.
        width: embedding width, a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads.
        window: image shape that the position embeddings belong to, a multiple of `patch`; other shapes work.
        patch: voxels of a patch.

    Raises:
        ValueError: `width` or `window` is not such a multiple.
    """

    def __init__(
        self,
        in_channels: int = 1,
        *,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        window: Stride = WINDOW,
        patch: Stride = PATCH,
    ) -> None:
        super().__init__(in_channels)
        if width % heads:
            raise ValueError(f"ViT width {width} is no multiple of its {heads} heads; change one of them")
        if any(n % p for n, p in zip(window, patch, strict=True)):
            raise ValueError(f"ViT window {window} is no multiple of its patch {patch}; change one of them")
        self.strides = (patch,)
        self.widths = (width,)
        self.patch_embedding = PatchEmbedding(in_channels, width, window, patch)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, 4 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Tensor, ...]:
        """One map (B, width, D/4, H/16, W/16), sizes rounded up."""
        x, grid = self.patch_embedding(image)
        for block in self.blocks:
            x = block(x)
        return (self.norm(x).transpose(1, 2).reshape(len(x), -1, *grid),)


@register_encoder("vit_b", parameters=87_388_416)
def vit_b(in_channels: int = 1, *, window: Stride = WINDOW, patch: Stride = PATCH, depth: int = 12) -> ViT:
    """SegVol's encoder: 768 wide, 12 blocks of 12 heads, about 86 M parameters.

    Its window is SegVol's, 32x256x256, in patches of 4x16x16, unless others are given, as the models of the light
    family do, whose windows are small.
    """
    return ViT(in_channels, width=768, depth=depth, heads=12, window=window, patch=patch)


@register_encoder("vit_s", parameters=22_460_544)
def vit_s(in_channels: int = 1, *, window: Stride = WINDOW, patch: Stride = PATCH, depth: int = 12) -> ViT:
    """`vit_b` at half its width, with 6 heads."""
    return ViT(in_channels, width=384, depth=depth, heads=6, window=window, patch=patch)
