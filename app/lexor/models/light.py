"""The light family: an encoder that sees image and prompt maps, and a U-shaped decoder of the mask.

Object-centric: its window is the prompt's surroundings, every axis scaled freely, so all prompts of a case
are batched. It keeps SegVol's framework (encoder, prompts, decoder of masks and of their quality) and gives the
decoder dense prompts and fine features (design/training-findings.md).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lexor.models import prompt_maps
from lexor.models.encoders import build_encoder
from lexor.models.encoders.mobilenet3d import InstanceNorm
from lexor.models.prompts import WindowPrompts
from lexor.models.segmenter import Encoding, Masks, Segmenter

DECODER_WIDTHS = (32, 48, 96, 160)
PROTOTYPE_WIDTH = 16
SUBPIXEL = (1, 2, 2)


class Fuse(nn.Module):
    """Two 3x3x3 convolutions over what meets at one scale, the second residual."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, out, 3, padding=1, bias=False)
        self.norm1 = InstanceNorm(out)
        self.conv2 = nn.Conv3d(out, out, 3, padding=1, bias=False)
        self.norm2 = InstanceNorm(out)

    def forward(self, x: Float[Tensor, "B C d h w"]) -> Float[Tensor, "B E d h w"]:
        x = F.silu(self.norm1(self.conv1(x)))
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


class LightSegmenter(Segmenter):
    """Window segmenter of the light family.

    Args:
        encoder: name of a registered encoder whose finest map has stride (1, 2, 2).
        window: (d, h, w) that it was trained with; any other works.
    """

    zoom_out = "object"
    # Measured on data/val with the first weights, macro DSC: never .7505, from 4 on .7500, from 1.3 on .7427.
    zoom_gain = 4.0

    def __init__(self, encoder: str = "mobilenet3d", window: tuple[int, int, int] = (24, 48, 48)) -> None:
        super().__init__()
        self.window = window
        self.encoder = build_encoder(encoder, in_channels=1 + prompt_maps.CHANNELS)
        widths = self.encoder.widths
        if tuple(self.encoder.strides[0]) != SUBPIXEL:
            raise ValueError(
                f"encoder {encoder!r} has finest stride {self.encoder.strides[0]}, the light decoder needs {SUBPIXEL}"
            )
        self.fuse = nn.ModuleList()
        self.similarity = nn.ModuleList()
        below = widths[-1]
        for scale in range(len(widths) - 2, -1, -1):
            out = DECODER_WIDTHS[scale]
            self.similarity.append(PrototypeSimilarity(widths[scale]))
            self.fuse.append(Fuse(below + widths[scale] + prompt_maps.CHANNELS + 2, out))
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
        logits = residual + torch.einsum("k,bkdhw->bdhw", self.start, start)
        quality = self.quality(torch.cat([pooled, x.float().mean((2, 3, 4))], 1))[:, 0]
        return Masks(logits[:, None], quality)
