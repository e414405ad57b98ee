"""What holds for every encoder of convolutional stages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lexor.models.encoders import Encoder, build_encoder

NAMES = ("mobilenet3d", "mobilenetv3", "fastvit")
STRIDES = ((1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16), (16, 32, 32))
# The paper's table 2.
PAPER = {"vit_b": 86e6, "mobilenet3d": 4.0e6, "mobilenetv3": 5.4e6, "fastvit": 10e6}


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    torch.manual_seed(0)
    return {name: build_encoder(name, in_channels=2).eval() for name in NAMES}


def features(encoder: Encoder, image: Tensor) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        maps: tuple[Tensor, ...] = encoder(image)
    return maps


@pytest.mark.parametrize("name", sorted(PAPER))
def test_parameters_are_within_a_tenth_of_the_papers(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder(name, in_channels=1)
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(PAPER[name], rel=0.1)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4)
@given(shape=st.tuples(st.integers(1, 17), st.integers(1, 35), st.integers(1, 35)))
def test_any_volume_has_maps_of_the_declared_strides_rounded_up(
    encoders: dict[str, Encoder], name: str, shape: tuple[int, int, int]
) -> None:
    encoder = encoders[name]
    assert encoder.strides == STRIDES
    maps = features(encoder, torch.randn(1, 2, *shape))
    for feature, stride, width in zip(maps, STRIDES, encoder.widths, strict=True):
        assert feature.shape == (1, width, *(-(-n // s) for n, s in zip(shape, stride, strict=True)))
        assert feature.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_spatial_at_every_scale(encoders: dict[str, Encoder], name: str) -> None:
    """What is in a corner of the image is in that corner of every map."""
    image = torch.zeros(1, 2, 32, 64, 64)
    noise = torch.randn(1, 2, 12, 24, 24, generator=torch.Generator().manual_seed(0))
    image[:, :, 2:14, 4:28, 4:28] = noise
    for feature in features(encoders[name], image):
        # Norms move the empty rest, too, but evenly.
        energy = (feature - feature[..., -1:, -1:, -1:]).square().sum(1)[0]
        for axis in range(3):
            near, far = energy.chunk(2, axis)
            # The coarsest map has two voxels an axis, and each sees nearly everything.
            assert float(near.sum()) > (2 if feature[0, 0].numel() > 8 else 1.2) * float(far.sum())


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_a_batch_are_independent(encoders: dict[str, Encoder], name: str) -> None:
    images = torch.randn(2, 2, 9, 33, 31, generator=torch.Generator().manual_seed(1))
    together = features(encoders[name], images)
    for i in range(2):
        for batch, alone in zip(together, features(encoders[name], images[i : i + 1]), strict=True):
            torch.testing.assert_close(batch[i : i + 1], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_close(encoders: dict[str, Encoder], name: str) -> None:
    image = torch.randn(1, 2, 16, 48, 48, generator=torch.Generator().manual_seed(1))
    exact = features(encoders[name], image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = features(encoders[name], image)
    for a, b in zip(rough, exact, strict=True):
        assert float((a.float() - b).norm() / b.norm()) < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_every_parameter_learns_in_training(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, in_channels=2).train()
    # Two voxels in the coarsest map: attention to a single one learns nothing.
    image = torch.randn(1, 2, 17, 32, 32).contiguous(memory_format=layout)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = encoder(image)
    weights = [torch.randn(feature.shape) for feature in maps]
    sum((feature.float() * weight).mean() for feature, weight in zip(maps, weights, strict=True)).backward()
    silent = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_training_computes_what_evaluation_does(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, in_channels=2)
    image = torch.randn(1, 2, 9, 32, 32)
    with torch.no_grad():
        pairs = zip(encoder.train()(image), encoder.eval()(image), strict=True)
        for trained, evaluated in pairs:
            torch.testing.assert_close(trained, evaluated, atol=1e-4, rtol=1e-4)
