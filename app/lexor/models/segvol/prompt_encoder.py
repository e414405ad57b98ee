"""Prompts as tokens: boxes, points and masks (SAM in 3D; paper section 2.2).

Parameters are named as in SegVol, so that its weights load by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lexor.geometry import Shape
from lexor.models.window_prompts import WindowPrompts

# Rows of `point_embeddings`; the paper counts them as two positive and two negative ones.
BACKGROUND, FOREGROUND, LOWER_CORNER, UPPER_CORNER = range(4)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each voxel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "B C d h w"]) -> Float[Tensor, "B C d h w"]:
        last = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, eps=1e-6)
        return last.movedim(-1, 1)


class FourierPosition(nn.Module):
    """Sine and cosine of random projections of a position (random Fourier features).

    Args:
        width: channels of the encoding, even.
        published: as in SegVol's code, see below. Its weights were trained so; ours are not.

    SegVol keeps SAM's (x, y) order for the grid but hands points over in array order. So on the grid the
    first frequency row belongs to y and the second to z, whereas a point's first row is its z over the
    window's HEIGHT and its second is its y over the window's DEPTH. With `published` off both use (z, y, x),
    and a point at the centre of a grid cell has that cell's encoding.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int, published: bool = False) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"positional encoding width {width} is odd; sine and cosine need an even one")
        self.published = published
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 2))

    def _encode(self, fractions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n E"]:
        # Phases reach tens of radians: half precision would leave noise of them.
        with torch.autocast(fractions.device.type, enabled=False):
            matrix = self.positional_encoding_gaussian_matrix.float()
            phase = 2 * math.pi * ((2 * fractions.float() - 1) @ matrix)
            return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def grid(self, grid: Shape) -> Float[Tensor, "1 E d h w"]:
        """Encoding of each cell's centre."""
        device = self.positional_encoding_gaussian_matrix.device
        axes = [(torch.arange(n, device=device) + 0.5) / n for n in grid]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        order = (y, z, x) if self.published else (z, y, x)
        return self._encode(torch.stack(order, dim=-1)).permute(3, 0, 1, 2)[None]

    def positions(self, positions: Float[Tensor, "P N 3"], window: Shape) -> Float[Tensor, "P N E"]:
        """Encoding of positions, (z, y, x) in voxel edges of the window."""
        divisor = (window[1], window[0], window[2]) if self.published else window
        return self._encode(positions / positions.new_tensor(divisor))


@dataclass(frozen=True)
class PromptTokens:
    """Prompts as a decoder takes them.

    Attributes:
        sparse: (P, N + 2, E) tokens of the points and of the box's corners.
        valid: (P, N + 2) which of them exist.
        dense: (P, E, d, h, w) embedding of the previous mask, or (1, E, 1, 1, 1) where no prompt has one.
    """

    sparse: Float[Tensor, "P N E"]
    valid: Bool[Tensor, "P N"]
    dense: Tensor


class PromptEncoder(nn.Module):
    """Embeds prompts for a two-way transformer; needs no window or grid until it is called.

    Args:
        width: channels of the embeddings, even.
        mask_channels: hidden channels of the mask's embedding, a multiple of 4.
        published: as in SegVol's code: its order of axes, see `FourierPosition`, and no mask prompts. (Its
            embedding of masks is left over from 2D SAM, cannot run on a volume and was never trained.)
    """

    def __init__(self, width: int, *, mask_channels: int = 16, published: bool = False) -> None:
        super().__init__()
        self.pe_layer = FourierPosition(width, published)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.mask_downscaling: nn.Sequential | None = None
        if published:
            return
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, mask_channels // 4, kernel_size=2, stride=2),
            ChannelNorm(mask_channels // 4),
            nn.GELU(),
            nn.Conv3d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            ChannelNorm(mask_channels),
            nn.GELU(),
            nn.Conv3d(mask_channels, width, kernel_size=1),
        )

    def dense_position(self, grid: Shape) -> Float[Tensor, "1 E d h w"]:
        """Positional encoding of a feature grid."""
        return self.pe_layer.grid(grid)

    def forward(
        self, prompts: WindowPrompts, window: Shape, grid: Shape, *, padding_tokens: bool = False
    ) -> PromptTokens:
        """Tokens of P prompts.

        Args:
            prompts: in voxels of the window.
            window: (d, h, w) of the window.
            grid: (d, h, w) of its features.
            padding_tokens: let points labelled -1 take part as "not a point" tokens, as in SegVol's training;
                otherwise they have no influence.
        """
        points, points_valid = self._points(prompts, window, padding_tokens)
        corners, corners_valid = self._corners(prompts, window, points_valid.any(1))
        return PromptTokens(
            torch.cat([points, corners], dim=1),
            torch.cat([points_valid, corners_valid], dim=1),
            self._mask(prompts, grid),
        )

    def _row(self, index: int) -> Tensor:
        embedding = self.point_embeddings[index]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight

    def _points(
        self, prompts: WindowPrompts, window: Shape, padding_tokens: bool
    ) -> tuple[Float[Tensor, "P N E"], Bool[Tensor, "P N"]]:
        labels = prompts.labels[:, :, None]
        # A point stands for its voxel's centre.
        position = self.pe_layer.positions(prompts.points + 0.5, window)
        kind = torch.where(labels == 1, self._row(FOREGROUND), self._row(BACKGROUND))
        tokens = torch.where(labels == -1, self.not_a_point_embed.weight, position + kind)
        valid = torch.ones_like(prompts.labels, dtype=torch.bool) if padding_tokens else prompts.labels != -1
        return tokens, valid

    def _corners(
        self, prompts: WindowPrompts, window: Shape, has_point: Bool[Tensor, " P"]
    ) -> tuple[Float[Tensor, "P 2 E"], Bool[Tensor, "P 2"]]:
        """Tokens of the box's first and last voxel.

        Without a box one "not a point" token follows the points, as in SAM; without either there is none.
        """
        has_box = prompts.has_box
        boxes = prompts.boxes.nan_to_num()
        lower, upper = boxes[:, :3], boxes[:, 3:]
        middle = (lower + upper) / 2
        # Centres of the first and last voxel; a box thinner than a voxel has both in its middle.
        ends = torch.stack([torch.minimum(lower + 0.5, middle), torch.maximum(upper - 0.5, middle)], dim=1)
        kind = torch.cat([self._row(LOWER_CORNER), self._row(UPPER_CORNER)])
        corners = self.pe_layer.positions(ends, window) + kind
        tokens = torch.where(has_box[:, None, None], corners, self.not_a_point_embed.weight)
        return tokens, torch.stack([has_box | has_point, has_box], dim=1)

    def _mask(self, prompts: WindowPrompts, grid: Shape) -> Tensor:
        none = self.no_mask_embed.weight.view(1, -1, 1, 1, 1)
        if prompts.previous is None or self.mask_downscaling is None:
            return none
        size = (4 * grid[0], 4 * grid[1], 4 * grid[2])
        embedded = self.mask_downscaling(F.adaptive_avg_pool3d(prompts.previous, size))
        given = prompts.previous.flatten(1).any(1)[:, None, None, None, None]
        return torch.where(given, embedded, none)
