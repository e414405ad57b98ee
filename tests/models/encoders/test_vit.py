"""SegVol's vision transformer."""

from __future__ import annotations

import pytest
import torch

from lexor.models.encoders import build_encoder
from lexor.models.encoders.vit import Patches, ViT


def tiny(**options: object) -> ViT:
    torch.manual_seed(0)
    settings = {"width": 24, "depth": 2, "heads": 3, "window": (8, 32, 48)} | options
    return ViT(1, **settings).eval()


def test_vit_b_is_segvols() -> None:
    with torch.device("meta"):
        encoder = build_encoder("vit_b")
    # The paper says about 86 M (table 2).
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(86e6, rel=0.1)
    assert encoder.strides == ((4, 16, 16),)
    assert encoder.widths == (768,)
    assert isinstance(encoder, ViT)
    assert encoder.patch_embedding.position_embeddings.shape == (1, 8 * 16 * 16, 768)
    assert len(encoder.blocks) == 12
    (features,) = encoder(torch.empty(2, 1, 32, 256, 256, device="meta"))
    assert features.shape == (2, 768, 8, 16, 16)


def test_vit_s_is_half_as_wide() -> None:
    with torch.device("meta"):
        encoder = build_encoder("vit_s")
    assert isinstance(encoder, ViT)
    assert encoder.strides == ((4, 16, 16),)
    assert encoder.widths == (384,)
    assert encoder.patch_embedding.position_embeddings.shape == (1, 8 * 16 * 16, 384)
    assert [block.attn.heads for block in encoder.blocks] == [6] * 12
    assert len(encoder.blocks) == 12


def test_patches_are_rows_of_voxels_in_z_y_x_channel_order() -> None:
    image = torch.arange(2 * 4 * 6 * 8.0).view(1, 2, 4, 6, 8)
    rows = Patches((2, 3, 4))(image)
    assert rows.shape == (1, 8, 2 * 2 * 3 * 4)
    # Patch 5 of the 2x2x2 grid is (1, 0, 1).
    expected = image[0, :, 2:4, 0:3, 4:8].permute(1, 2, 3, 0)
    assert torch.equal(rows[0, 5].view(2, 3, 4, 2), expected)


def test_features_stay_in_their_place() -> None:
    """Without attention (depth 0) a voxel touches its own patch's feature only."""
    encoder = tiny(depth=0)
    image = torch.zeros(1, 1, 8, 32, 48)
    changed = image.clone()
    changed[0, 0, 5, 20, 40] = 1
    with torch.no_grad():
        moved = (encoder(changed)[0] - encoder(image)[0]).abs().sum(1)[0]
    assert moved.nonzero().tolist() == [[1, 1, 2]]


def test_attention_reaches_the_whole_window() -> None:
    encoder = tiny()
    image = torch.randn(1, 1, 8, 32, 48, generator=torch.Generator().manual_seed(1))
    changed = image.clone()
    changed[0, 0, 0, 0, 0] += 5
    with torch.no_grad():
        moved = (encoder(changed)[0] - encoder(image)[0]).abs().sum(1)
    assert (moved > 0).all()


def test_images_of_a_batch_are_independent() -> None:
    encoder = tiny()
    images = torch.randn(3, 1, 8, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (together,) = encoder(images)
        (alone,) = encoder(images[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_other_windows_get_resampled_positions() -> None:
    embedding = tiny().patch_embedding
    assert torch.equal(embedding.positions((2, 2, 3)), embedding.position_embeddings)
    with torch.no_grad():
        # A ramp along x stays a ramp.
        embedding.position_embeddings.copy_(torch.arange(3.0).repeat(4)[None, :, None].expand(1, 12, 24))
        wide = embedding.positions((2, 2, 6)).view(2, 2, 6, 24)
    assert torch.allclose(wide[0, 0, :, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2]))
    assert torch.allclose(wide[1, 1], wide[0, 0])


def test_ragged_images_are_padded_with_their_mean() -> None:
    encoder = tiny()
    image = torch.randn(1, 1, 7, 30, 33, generator=torch.Generator().manual_seed(1))
    padded = torch.zeros(1, 1, 8, 32, 48)
    padded[:, :, :7, :30, :33] = image
    with torch.no_grad():
        assert torch.equal(encoder(image)[0], encoder(padded)[0])


def test_bfloat16_autocast_runs_on_the_cpu() -> None:
    encoder = tiny()
    image = torch.randn(1, 1, 8, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (exact,) = encoder(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (rough,) = encoder(image)
    assert (rough.float() - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [({"width": 25}, "width 25 is no multiple of its 3"), ({"window": (8, 30, 48)}, r"window \(8, 30, 48\)")],
)
def test_impossible_shapes_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**options)
