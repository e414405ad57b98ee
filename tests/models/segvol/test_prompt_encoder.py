"""Prompts as tokens."""

from __future__ import annotations

import math

import pytest
import torch

from lexor.models.segvol.prompt_encoder import FourierPosition, PromptEncoder
from lexor.models.window_prompts import WindowPrompts

WINDOW = (8, 32, 48)
GRID = (2, 2, 3)


@pytest.fixture
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(16).eval()


def test_position_is_sine_and_cosine_of_projections() -> None:
    position = FourierPosition(4)
    position.positional_encoding_gaussian_matrix = torch.tensor([[1.0, 0], [0, 1], [0.5, 0]])
    encoded = position.positions(torch.tensor([[[2.0, 24, 36]]]), WINDOW)
    # Fractions 1/4, 3/4, 3/4 become -1/2, 1/2, 1/2; projections -1/4 and 1/2 of a turn.
    assert torch.allclose(encoded, torch.tensor([[[-1.0, 0, 0, -1]]]), atol=1e-6)


def test_a_point_at_a_cells_centre_has_the_cells_encoding() -> None:
    torch.manual_seed(0)
    position = FourierPosition(32)
    grid = position.grid(GRID)
    for cell in ((0, 0, 0), (1, 0, 2), (0, 1, 1)):
        centre = [(i + 0.5) * n / g for i, n, g in zip(cell, WINDOW, GRID, strict=True)]
        encoded = position.positions(torch.tensor([[centre]]), WINDOW)
        assert torch.allclose(encoded[0, 0], grid[(0, slice(None), *cell)], atol=1e-4)


def test_published_positions_keep_segvols_axes() -> None:
    """Grid rows y, z, x; point rows z over height, y over depth, x over width."""
    position = FourierPosition(6, published=True)
    position.positional_encoding_gaussian_matrix = torch.eye(3) / 8
    grid = position.grid((1, 2, 4))
    row_y, row_z, row_x = grid[0, :3, 0, 1, 3].tolist()
    turn = [math.sin(2 * math.pi * (2 * f - 1) / 8) for f in (0.75, 0.5, 0.875)]
    assert [row_y, row_z, row_x] == pytest.approx(turn, abs=1e-6)
    encoded = position.positions(torch.tensor([[[4.0, 2.0, 12.0]]]), WINDOW)[0, 0, :3].tolist()
    turn = [math.sin(2 * math.pi * (2 * f - 1) / 8) for f in (4 / 32, 2 / 8, 12 / 48)]
    assert encoded == pytest.approx(turn, abs=1e-6)


def test_positions_keep_their_precision_under_autocast() -> None:
    torch.manual_seed(0)
    position = FourierPosition(32)
    points = torch.rand(1, 50, 3) * torch.tensor(WINDOW)
    exact = position.positions(points, WINDOW)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(position.positions(points, WINDOW), exact)


@torch.no_grad()
def test_points_and_corners_carry_their_kind(encoder: PromptEncoder) -> None:
    prompts = WindowPrompts.build(
        boxes=[(1, 4, 6, 3, 10, 20)], points=[[(1, 4, 6), (1, 4, 6)]], labels=[[0, 1]]
    )
    tokens = encoder(prompts, WINDOW, GRID)
    ends = torch.tensor([[[1.5, 4.5, 6.5], [1.5, 4.5, 6.5], [1.5, 4.5, 6.5], [2.5, 9.5, 19.5]]])
    kinds = torch.cat([embedding.weight for embedding in encoder.point_embeddings])
    assert torch.allclose(tokens.sparse, encoder.pe_layer.positions(ends, WINDOW) + kinds, atol=1e-5)
    assert tokens.valid.all()


@torch.no_grad()
def test_a_prompt_without_box_ends_with_one_not_a_point_token(encoder: PromptEncoder) -> None:
    prompts = WindowPrompts.build(points=[[(1, 2, 3)], []], labels=[[1], []])
    tokens = encoder(prompts, WINDOW, GRID)
    assert tokens.valid.tolist() == [[True, True, False], [False, False, False]]
    assert torch.equal(tokens.sparse[0, 1], encoder.not_a_point_embed.weight[0])


@torch.no_grad()
def test_padding_takes_part_only_on_request(encoder: PromptEncoder) -> None:
    prompts = WindowPrompts(
        torch.full((1, 6), math.nan), torch.zeros(1), torch.zeros(1, 1, 3), torch.tensor([[-1]])
    )
    assert not encoder(prompts, WINDOW, GRID).valid.any()
    tokens = encoder(prompts, WINDOW, GRID, padding_tokens=True)
    assert tokens.valid.tolist() == [[True, True, False]]
    assert torch.equal(tokens.sparse[0, 0], encoder.not_a_point_embed.weight[0])


@torch.no_grad()
def test_a_box_thinner_than_a_voxel_has_both_corners_in_its_middle(encoder: PromptEncoder) -> None:
    prompts = WindowPrompts.build(boxes=[(1.2, 4, 6, 1.6, 10, 20)])
    corners = encoder(prompts, WINDOW, GRID).sparse
    ends = torch.tensor([[[1.4, 4.5, 6.5], [1.4, 9.5, 19.5]]])
    kinds = torch.cat([encoder.point_embeddings[i].weight for i in (2, 3)])
    assert torch.allclose(corners, encoder.pe_layer.positions(ends, WINDOW) + kinds, atol=1e-5)


@torch.no_grad()
def test_masks_are_dense_and_an_empty_one_is_none(encoder: PromptEncoder) -> None:
    mask = torch.zeros(2, 1, *WINDOW)
    mask[1, :, :4] = 3.0
    dense = encoder(WindowPrompts.build(boxes=[None, None], previous=mask), WINDOW, GRID).dense
    assert dense.shape == (2, 16, *GRID)
    none = encoder.no_mask_embed.weight[0]
    assert torch.equal(dense[0], none[:, None, None, None].expand(-1, *GRID))
    # Each feature sees its own quarter of the window: the upper half is empty, the lower is not.
    assert torch.allclose(dense[1, :, 0, 0, 0], dense[1, :, 0, 1, 2], atol=1e-6)
    assert (dense[1, :, 0] - dense[1, :, 1]).abs().max() > 1e-2


@torch.no_grad()
def test_published_encoders_know_no_masks() -> None:
    encoder = PromptEncoder(16, published=True)
    assert not any("mask_downscaling" in name for name in encoder.state_dict())
    prompts = WindowPrompts.build(boxes=[None], previous=torch.ones(1, 1, *WINDOW))
    assert encoder(prompts, WINDOW, GRID).dense.shape == (1, 16, 1, 1, 1)


def test_odd_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="width 15 is odd"):
        PromptEncoder(15)
