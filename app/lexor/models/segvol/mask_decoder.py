"""Masks from prompt tokens and image features by hypernetworks (SAM in 3D; paper section 2.4).

Parameters are named as in SegVol, so that its weights load by name. Its branch that compares the image with a
text embedding is left out: Lexor has no text prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lexor.geometry import Shape
from lexor.models.segvol.prompt_encoder import ChannelNorm, PromptTokens
from lexor.models.segvol.transformer import TwoWayTransformer


class TokenHead(nn.Module):
    """Linear maps with ReLUs between, from a token to an output."""

    def __init__(self, width: int, hidden: int, out: int, depth: int = 3) -> None:
        super().__init__()
        sizes = [width, *[hidden] * (depth - 1), out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Float[Tensor, "*n E"]) -> Float[Tensor, "*n O"]:
        *inner, last = self.layers
        for layer in inner:
            x = F.relu(layer(x))
        out: Tensor = last(x)
        return out


@dataclass(frozen=True)
class DecodedMasks:
    """Logits (P, 1, 4d, 4h, 4w) at four times the feature grid, and predicted overlap with the truth (P,)."""

    logits: Tensor
    quality: Tensor


class MaskDecoder(nn.Module):
    """Decodes one mask a prompt.

    Args:
        transformer: exchanges tokens and image features.
        width: channels of both, a multiple of 8.
        mask_tokens: one for the single mask, used here, and those for SAM's three alternatives.
        quality_width: inner width of the quality head.
        fixed_grid: SegVol's layer norm spans channels AND space, with a weight for each voxel of the doubled
            grid; naming the grid here builds that, and ties the decoder to it. None normalises channels only.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        width: int,
        *,
        mask_tokens: int = 4,
        quality_width: int = 256,
        fixed_grid: Shape | None = None,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.fixed_grid = fixed_grid
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(mask_tokens, width)
        norm: nn.Module = ChannelNorm(width // 4)
        if fixed_grid is not None:
            norm = nn.LayerNorm([width // 4, *(2 * n for n in fixed_grid)])
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, kernel_size=2, stride=2),
            norm,
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            TokenHead(width, width, width // 8) for _ in range(mask_tokens)
        )
        self.iou_prediction_head = TokenHead(width, quality_width, mask_tokens)

    def forward(
        self,
        image: Float[Tensor, "B E d h w"],
        image_position: Float[Tensor, "1 E d h w"],
        prompts: PromptTokens,
    ) -> DecodedMasks:
        """Masks of P prompts.

        Args:
            image: features, of batch P, or 1 if all prompts share them.
            image_position: positional encoding of their grid.
            prompts: tokens of P prompts.

        Raises:
            ValueError: the features' grid is not the one that the decoder is tied to.
        """
        grid = tuple(image.shape[2:])
        if self.fixed_grid is not None and grid != self.fixed_grid:
            raise ValueError(f"mask decoder: feature grid {grid}, its weights are for {self.fixed_grid}")
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(prompts.sparse), -1, -1), prompts.sparse], dim=1)
        # The output tokens always take part.
        valid = F.pad(prompts.valid, (len(output), 0), value=True)
        tokens, features = self.transformer(image + prompts.dense, image_position, tokens, valid)
        upscaled = self.output_upscaling(features)
        # Mask token 0 is the single mask; the alternatives stay unused, as in SegVol.
        weights = self.output_hypernetworks_mlps[0](tokens[:, 1])
        logits = torch.einsum("pc,pcdhw->pdhw", weights, upscaled)[:, None]
        return DecodedMasks(logits, self.iou_prediction_head(tokens[:, 0])[:, 0])
