"""The two-way transformer between prompt tokens and image features (SAM; paper section 2.4).

Parameters are named as in SAM and SegVol, so that their weights load by name.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than that of its input.

    Queries and keys of batch 1 serve any batch of the other side; they are projected once.
    """

    def __init__(self, width: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        if inner * downsample != width or inner % heads:
            raise ValueError(
                f"attention width {width}, downsampled by {downsample}, must be a multiple of {heads} heads"
            )
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(
        self,
        q: Float[Tensor, "Q N E"],
        k: Float[Tensor, "K M E"],
        v: Float[Tensor, "K M E"],
        valid: Bool[Tensor, "K M"] | None = None,
    ) -> Float[Tensor, "P N E"]:
        """Attention of queries `q` over keys `k` with values `v`; keys that are not `valid` are not seen."""
        batch = max(len(q), len(k))
        queries, keys, values = (
            project(x).view(len(x), x.shape[1], self.heads, -1).transpose(1, 2).expand(batch, -1, -1, -1)
            for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        mask = None if valid is None else valid[:, None, None, :].expand(batch, 1, q.shape[1], -1)
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        projected: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return projected


class TokenMLP(nn.Module):
    """Two linear maps with a ReLU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        out: Tensor = self.lin2(F.relu(self.lin1(x)))
        return out


class TwoWayBlock(nn.Module):
    """Tokens attend to each other, then to the image, pass an MLP, and the image attends to them."""

    def __init__(self, width: int, heads: int, hidden: int, downsample: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TokenMLP(width, hidden)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample)

    def forward(
        self,
        tokens: Float[Tensor, "P N E"],
        image: Float[Tensor, "B M E"],
        token_position: Float[Tensor, "P N E"],
        image_position: Float[Tensor, "Q M E"],
        valid: Bool[Tensor, "P N"] | None,
    ) -> tuple[Float[Tensor, "P N E"], Float[Tensor, "P M E"]]:
        if self.first:
            # The tokens still are their own positions: nothing is added, and nothing kept.
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens, valid))
        else:
            placed = tokens + token_position
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens, valid))
        placed_image = image + image_position
        attended = self.cross_attn_token_to_image(tokens + token_position, placed_image, image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        attended = self.cross_attn_image_to_token(placed_image, tokens + token_position, tokens, valid)
        return tokens, self.norm4(image + attended)


class TwoWayTransformer(nn.Module):
    """Exchanges what prompts ask and what an image shows.

    Args:
        width: channels of tokens and image features.
        depth: number of two-way blocks.
        heads: attention heads.
        hidden: inner width of the tokens' MLP.
        downsample: by how much attention between tokens and image is narrower than `width`.

    Raises:
        ValueError: `width`, or `width / downsample`, is not a multiple of `heads`.
    """

    def __init__(
        self, width: int, *, depth: int = 2, heads: int = 8, hidden: int = 2048, downsample: int = 2
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(width, heads, hidden, downsample, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, downsample)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self,
        image: Float[Tensor, "B E d h w"],
        image_position: Float[Tensor, "Q E d h w"],
        tokens: Float[Tensor, "P N E"],
        valid: Bool[Tensor, "P N"] | None = None,
    ) -> tuple[Float[Tensor, "P N E"], Float[Tensor, "P E d h w"]]:
        """Updated tokens and image features of P prompts.

        Args:
            image: features, of batch P, or 1 if all prompts share them.
            image_position: positional encoding of their grid, of batch P or 1.
            tokens: prompt and output tokens; their first values serve as their positions too.
            valid: tokens that take part; each prompt needs at least one. None: all.
        """
        grid = image.shape[2:]
        features = image.flatten(2).transpose(1, 2)
        position = image_position.flatten(2).transpose(1, 2)
        token_position = tokens
        for layer in self.layers:
            tokens, features = layer(tokens, features, token_position, position, valid)
        attended = self.final_attn_token_to_image(tokens + token_position, features + position, features)
        tokens = self.norm_final_attn(tokens + attended)
        return tokens, features.transpose(1, 2).reshape(len(features), -1, *grid)
