"""The light family: an encoder that sees image and prompt maps, and a U-shaped decoder of the mask.

Object-centric: its window is the prompt's surroundings, every axis scaled freely, so all prompts of a case
are batched. It keeps SegVol's framework (encoder, prompts, decoder of masks and of their quality) and gives the
decoder dense prompts and fine features.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lexor.models.encoders import Stride, build_encoder
from lexor.models.encoders.blocks import Downsample, InstanceNorm, SeparableBlock, padded_to_even, pyramid
from lexor.models.encoders.mobilenet3d import WIDTHS
from lexor.models.light import maps as prompt_maps
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts

DECODER_WIDTHS = (32, 48, 96, 160)
PROTOTYPE_WIDTH = 16
SUBPIXEL = (1, 2, 2)
# Channels of `PrototypeSimilarity`: to the inside, to the outside.
SIMILARITIES = 2
# Voxels of the smallest map whose dense convolutions bfloat16 training on a CPU gets right (3x3x3).
SMALLEST_BF16_MAP = 27


class Fuse(nn.Module):
    """Two 3x3x3 convolutions over what meets at one scale, the second residual."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, out, 3, padding=1, bias=False)
        self.norm1 = InstanceNorm(out)
        self.conv2 = nn.Conv3d(out, out, 3, padding=1, bias=False)
        self.norm2 = InstanceNorm(out)

    def forward(self, x: Float[Tensor, "B C d h w"]) -> Float[Tensor, "B E d h w"]:
        # Torch 2.13 on a CPU returns wrong weight gradients, NaN or 1e31, of bfloat16 convolutions on such maps.
        faulty = self.training and x.device.type == "cpu" and x[0, 0].numel() < SMALLEST_BF16_MAP
        with torch.autocast("cpu", enabled=False) if faulty else nullcontext():
            x = F.silu(self.norm1(self.conv1(x.float() if faulty else x)))
            return F.silu(x + self.norm2(self.conv2(x)))


class PrototypeSimilarity(nn.Module):
    """Cosine similarity of each voxel's feature to the mean feature inside and outside of the shape prior."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv3d(channels, PROTOTYPE_WIDTH, 1)

    def forward(
        self, x: Float[Tensor, "B C d h w"], inside: Float[Tensor, "B 1 d h w"]
    ) -> Float[Tensor, "B 2 d h w"]:
        feature = self.project(x).float()
        weights = torch.cat([inside, 1 - inside], 1).flatten(2)
        weights = weights / weights.sum(2, keepdim=True).clamp(min=1e-3)
        mean = torch.einsum("bkn,bcn->bkc", weights, feature.flatten(2))
        feature = F.normalize(feature, dim=1, eps=1e-3)
        return torch.einsum("bkc,bcdhw->bkdhw", F.normalize(mean, dim=2, eps=1e-3), feature)


class Detail(nn.Module):
    """Fine maps beside an encoder that starts coarse, like a ViT: a stem, then a block and a halving a scale."""

    def __init__(self, in_channels: int, coarsest: Stride) -> None:
        super().__init__()
        scales = 0
        while scales < len(WIDTHS) and _stride(scales) != coarsest:
            scales += 1
        if scales == len(WIDTHS):
            raise ValueError(
                f"the light decoder halves {SUBPIXEL} again and again, and never comes to stride {coarsest}"
            )
        self.widths = WIDTHS[:scales]
        self.stem = nn.Conv3d(in_channels, WIDTHS[0], (3, 4, 4), SUBPIXEL, padding=1, bias=False)
        self.norm = InstanceNorm(WIDTHS[0])
        self.blocks = nn.ModuleList(SeparableBlock(width) for width in self.widths)
        self.downsamples = nn.ModuleList(Downsample(a, b) for a, b in pairwise(self.widths))

    def forward(self, x: Float[Tensor, "B C d h w"]) -> tuple[Tensor, ...]:
        x = F.silu(self.norm(self.stem(padded_to_even(x, axes=2))))
        return pyramid(x, self.blocks, self.downsamples)


def _stride(scale: int) -> Stride:
    """Of a scale of the decoder, counted from the finest."""
    z, y, x = (n * 2**scale for n in SUBPIXEL)
    return z, y, x


class LightSegmenter(Segmenter):
    """Window segmenter of the light family.

    Args:
        encoder: name of a registered encoder. Where its finest map is coarser than (1, 2, 2), small
            convolutions fill in the finer ones.
        window: (d, h, w) that it was trained with; any other works.
        options: of the encoder.

    Raises:
        ValueError: the encoder's finest stride is not (1, 2, 2) times a power of 2.
    """

    zoom_out = "object"
    # Measured on data/val with the first weights, macro DSC: never .7505, from 4 on .7500, from 1.3 on .7427.
    zoom_gain = 4.0

    def __init__(
        self,
        encoder: str = "mobilenet3d",
        window: tuple[int, int, int] = (24, 48, 48),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        channels = 1 + prompt_maps.CHANNELS
        self.encoder = build_encoder(encoder, in_channels=channels, **(options or {}))
        widths = self.encoder.widths
        self.detail: Detail | None = None
        if self.encoder.strides[0] != SUBPIXEL:
            self.detail = Detail(channels, self.encoder.strides[0])
            widths = self.detail.widths + widths
        self.fuse = nn.ModuleList()
        self.similarity = nn.ModuleList()
        below = widths[-1]
        for scale in range(len(widths) - 2, -1, -1):
            out = DECODER_WIDTHS[scale]
            self.similarity.append(PrototypeSimilarity(widths[scale]))
            self.fuse.append(Fuse(below + widths[scale] + prompt_maps.CHANNELS + SIMILARITIES, out))
            below = out
        self.quality = nn.Sequential(nn.Linear(widths[-1] + below, 64), nn.SiLU(), nn.Linear(64, 1))
        self.head = nn.Conv3d(below, SUBPIXEL[0] * SUBPIXEL[1] * SUBPIXEL[2], 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        # Weights of the starting point: shape prior, likelihood ratio, wide clicks.
        self.start = nn.Parameter(torch.tensor([4.0, 0.3, 2.0]))

    def encode(self, image: Float[Tensor, "W 1 d h w"]) -> Encoding:
        """Keeps the windows as they are: this family's encoder needs the prompts."""
        return Encoding((image,), (image.shape[2], image.shape[3], image.shape[4]))

    def masks(self, encoding: Encoding, index: Int[Tensor, " P"], prompts: WindowPrompts) -> Masks:
        """Answers to P prompts, prompt i in window index[i]."""
        masks: Masks = self(encoding.features[0][index], prompts)
        return masks

    def forward(self, image: Float[Tensor, "P 1 d h w"], prompts: WindowPrompts) -> Masks:
        """Logits and quality of each prompt in its own window (normalised image, float32)."""
        shape = image.shape[2:]
        maps, start = prompt_maps.prompt_maps(image[:, 0], prompts)
        inputs = torch.cat([image, maps], 1).contiguous(memory_format=torch.channels_last_3d)
        features = self.encoder(inputs)
        if self.detail is not None:
            features = self.detail(inputs) + features
        x = features[-1]
        pooled = x.float().mean((2, 3, 4))
        inside = torch.sigmoid(4 * start[:, :1])
        pairs = zip(self.fuse, self.similarity, reversed(features[:-1]), strict=True)
        for fuse, similarity, skip in pairs:
            size = skip.shape[2:]
            local_maps = F.adaptive_avg_pool3d(maps, size)
            likeness = similarity(skip, F.adaptive_avg_pool3d(inside, size))
            x = F.interpolate(x, size=size, mode="nearest")
            x = torch.cat([x, skip, local_maps.to(skip.dtype), likeness.to(skip.dtype)], 1)
            x = fuse(x.contiguous(memory_format=torch.channels_last_3d))
        residual = self.head(x).float()
        count, _, d, h, w = residual.shape
        residual = (
            residual.view(count, 2, 2, d, h, w).permute(0, 3, 4, 1, 5, 2).reshape(count, d, 2 * h, 2 * w)
        )
        residual = residual[:, : shape[0], : shape[1], : shape[2]]
        before = torch.einsum("k,bkdhw->bdhw", self.start, start)
        quality = self.quality(torch.cat([pooled, x.float().mean((2, 3, 4))], 1))[:, 0]
        return Masks((before + residual)[:, None], quality, before[:, None])
