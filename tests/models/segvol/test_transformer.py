"""The two-way transformer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lexor.models.segvol.transformer import Attention, TwoWayTransformer


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def transformer() -> TwoWayTransformer:
    torch.manual_seed(0)
    return TwoWayTransformer(16, heads=2, hidden=32).eval()


@torch.no_grad()
def test_attention_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    attention = Attention(8, heads=1, downsample=2)
    q, k, v = normal(1, 3, 8), normal(1, 5, 8, seed=1), normal(1, 5, 8, seed=2)
    scores = attention.q_proj(q) @ attention.k_proj(k).transpose(1, 2) / math.sqrt(4)
    expected = attention.out_proj(scores.softmax(-1) @ attention.v_proj(v))
    assert torch.allclose(attention(q, k, v), expected, atol=1e-6)


@torch.no_grad()
def test_an_image_of_batch_one_is_shared(transformer: TwoWayTransformer) -> None:
    image, position, tokens = normal(1, 16, 2, 3, 4), normal(1, 16, 2, 3, 4, seed=1), normal(5, 7, 16, seed=2)
    shared = transformer(image, position, tokens)
    repeated = transformer(image.expand(5, -1, -1, -1, -1), position, tokens)
    assert shared[0].shape == (5, 7, 16)
    assert shared[1].shape == (5, 16, 2, 3, 4)
    for a, b in zip(shared, repeated, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@torch.no_grad()
def test_tokens_that_are_not_valid_have_no_influence(transformer: TwoWayTransformer) -> None:
    image, position, tokens = normal(1, 16, 2, 3, 4), normal(1, 16, 2, 3, 4, seed=1), normal(1, 7, 16, seed=2)
    valid = torch.tensor([[True, True, False, True, False, True, True]])
    masked_tokens, masked_image = transformer(image, position, tokens, valid)
    short_tokens, short_image = transformer(image, position, tokens[:, valid[0]])
    assert torch.allclose(masked_image, short_image, atol=1e-5)
    assert torch.allclose(masked_tokens[:, valid[0]], short_tokens, atol=1e-5)
    # The test could not fail if tokens never mattered.
    assert not torch.allclose(transformer(image, position, tokens)[1], short_image, atol=1e-3)


@torch.no_grad()
def test_order_of_tokens_and_of_cells_does_not_matter(transformer: TwoWayTransformer) -> None:
    image, position, tokens = normal(1, 16, 2, 3, 4), normal(1, 16, 2, 3, 4, seed=1), normal(2, 5, 16, seed=2)
    out_tokens, out_image = transformer(image, position, tokens)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned_tokens, turned_image = transformer(image.flip(2, 4), position.flip(2, 4), tokens[:, order])
    assert torch.allclose(turned_tokens, out_tokens[:, order], atol=1e-5)
    assert torch.allclose(turned_image.flip(2, 4), out_image, atol=1e-5)


def test_gradients_reach_every_parameter(transformer: TwoWayTransformer) -> None:
    tokens, image = transformer(
        normal(1, 16, 2, 3, 4), normal(1, 16, 2, 3, 4, seed=1), normal(2, 5, 16, seed=2)
    )
    (tokens.square().sum() + image.pow(3).sum()).backward()
    silent = [
        name
        for name, parameter in transformer.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


@pytest.mark.parametrize("options", [{"heads": 3}, {"heads": 2, "downsample": 3}])
def test_widths_that_do_not_divide_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="attention width 16"):
        TwoWayTransformer(16, **options)
