"""Masks by hypernetworks."""

from __future__ import annotations

import pytest
import torch

from lexor.models.segvol.mask_decoder import MaskDecoder, TokenHead
from lexor.models.segvol.prompt_encoder import PromptTokens
from lexor.models.segvol.transformer import TwoWayTransformer


def make(fixed_grid: tuple[int, int, int] | None = None) -> MaskDecoder:
    torch.manual_seed(0)
    return MaskDecoder(TwoWayTransformer(16, heads=2, hidden=32), 16, fixed_grid=fixed_grid).eval()


def tokens(count: int) -> PromptTokens:
    sparse = torch.randn(count, 3, 16, generator=torch.Generator().manual_seed(1))
    return PromptTokens(sparse, torch.ones(count, 3, dtype=torch.bool), torch.zeros(1, 16, 1, 1, 1))


@torch.no_grad()
def test_token_head_has_relus_between_its_layers() -> None:
    head = TokenHead(1, 2, 1, depth=2)
    first, last = head.layers
    first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    first.bias.zero_()
    last.weight.copy_(torch.tensor([[2.0, 3.0]]))
    last.bias.fill_(0.5)
    assert head(torch.tensor([[1.0], [-1.0]])).flatten().tolist() == [2.5, 3.5]


@torch.no_grad()
def test_masks_have_four_times_the_grid() -> None:
    masks = make()(torch.randn(1, 16, 2, 3, 4), torch.zeros(1, 16, 2, 3, 4), tokens(5))
    assert masks.logits.shape == (5, 1, 8, 12, 16)
    assert masks.quality.shape == (5,)


@torch.no_grad()
def test_mask_is_linear_in_the_first_hypernetwork() -> None:
    decoder = make()
    image, position = torch.randn(1, 16, 2, 2, 2), torch.zeros(1, 16, 2, 2, 2)
    before = decoder(image, position, tokens(2)).logits
    last = decoder.output_hypernetworks_mlps[0].layers[-1]
    last.weight.mul_(-2)
    last.bias.mul_(-2)
    for parameter in decoder.output_hypernetworks_mlps[1].parameters():
        parameter.zero_()
    assert torch.allclose(decoder(image, position, tokens(2)).logits, -2 * before, atol=1e-5)


@torch.no_grad()
def test_a_fixed_grid_norms_over_space_and_refuses_others() -> None:
    decoder = make(fixed_grid=(2, 2, 2))
    norm = decoder.output_upscaling[1]
    assert isinstance(norm, torch.nn.LayerNorm)
    assert norm.normalized_shape == (4, 4, 4, 4)
    with pytest.raises(ValueError, match=r"grid \(2, 3, 2\), its weights are for \(2, 2, 2\)"):
        decoder(torch.zeros(1, 16, 2, 3, 2), torch.zeros(1, 16, 2, 3, 2), tokens(1))
