"""The SegVol framework: prompts in, masks out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from segvol_golden import FULL, KINDS, SMALL, seeded_image, seeded_state
from torch import Tensor

from lexor.models.encoders.vit import ViT
from lexor.models.factory import create_model
from lexor.models.segmenter import Encoding
from lexor.models.segvol.network import SegVolSegmenter, build_segvol, foreground_scaled
from lexor.models.window_prompts import WindowPrompts

WINDOW = (8, 32, 48)
BOX = (1, 4, 6, 7, 20, 30)
POINTS = [(3, 10, 20), (5, 30, 40)]


@pytest.fixture(scope="module")
def model() -> SegVolSegmenter:
    torch.manual_seed(0)
    encoder = ViT(1, width=32, depth=1, heads=2, window=WINDOW)
    return SegVolSegmenter(encoder, WINDOW, heads=2, hidden=32).eval()


@pytest.fixture(scope="module")
def encoding(model: SegVolSegmenter) -> Encoding:
    with torch.no_grad():
        return model.encode(torch.randn(2, 1, *WINDOW, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def answer(model: SegVolSegmenter, encoding: Encoding) -> Callable[..., Tensor]:
    """Logits of prompts, given as to `WindowPrompts.build`, all in window 0 unless `index` says otherwise."""

    def run(index: list[int] | None = None, **prompts: object) -> Tensor:
        built = WindowPrompts.build(**prompts)
        with torch.no_grad():
            return model.masks(encoding, torch.tensor(index or [0] * len(built)), built).logits

    return run


def differ(a: Tensor, b: Tensor) -> float:
    """Root mean square difference as a share of the spread of `b`."""
    return float((a - b).square().mean().sqrt() / b.std())


def test_logits_have_the_windows_shape(answer: Callable[..., Tensor]) -> None:
    logits = answer(boxes=[BOX, None])
    assert logits.shape == (2, 1, *WINDOW)
    assert logits.dtype == torch.float32


def test_prompts_are_answered_as_if_alone(answer: Callable[..., Tensor]) -> None:
    previous = torch.zeros(4, 1, *WINDOW)
    previous[3, :, 2:5] = 4
    prompts = {
        "boxes": [BOX, None, (0, 0, 0, 8, 32, 48), BOX],
        "points": [[], POINTS, POINTS[:1], []],
        "labels": [[], [1, 0], [0], []],
    }
    together = answer(index=[0, 1, 1, 0], previous=previous, **prompts)
    for i, window in enumerate([0, 1, 1, 0]):
        alone = answer(
            index=[window],
            previous=previous[i : i + 1],
            **{name: [rows[i]] for name, rows in prompts.items()},
        )
        assert torch.allclose(together[i : i + 1], alone, atol=1e-5)


def test_a_shared_window_is_the_same_as_repeated_ones(
    model: SegVolSegmenter, encoding: Encoding, answer: Callable[..., Tensor]
) -> None:
    first = Encoding((encoding.features[0][:1],), encoding.shape)
    prompts = WindowPrompts.build(boxes=[BOX, (0, 0, 0, 3, 9, 9)])
    with torch.no_grad():
        shared = model.masks(first, torch.tensor([0, 0]), prompts).logits
    assert torch.allclose(shared, answer(boxes=[BOX, (0, 0, 0, 3, 9, 9)]), atol=1e-5)


def test_every_kind_of_prompt_changes_the_mask(answer: Callable[..., Tensor]) -> None:
    base = answer(boxes=[BOX], points=[POINTS[:1]], labels=[[1]])
    others = {
        "box": answer(boxes=[(1, 4, 6, 7, 20, 40)], points=[POINTS[:1]], labels=[[1]]),
        "no box": answer(boxes=[None], points=[POINTS[:1]], labels=[[1]]),
        "point": answer(boxes=[BOX], points=[POINTS[1:]], labels=[[1]]),
        "label": answer(boxes=[BOX], points=[POINTS[:1]], labels=[[0]]),
        "previous": answer(
            boxes=[BOX], points=[POINTS[:1]], labels=[[1]], previous=torch.ones(1, 1, *WINDOW)
        ),
        "window": answer(index=[1], boxes=[BOX], points=[POINTS[:1]], labels=[[1]]),
    }
    unchanged = [name for name, logits in others.items() if differ(logits, base) < 1e-3]
    assert unchanged == []


def test_padding_points_have_no_influence(answer: Callable[..., Tensor]) -> None:
    for box in (BOX, None):
        bare = answer(boxes=[box], points=[POINTS], labels=[[1, 0]])
        padded = answer(boxes=[box], points=[[*POINTS, (0, 0, 0), (7, 7, 7)]], labels=[[1, 0, -1, -1]])
        assert torch.allclose(padded, bare, atol=1e-5)


def test_points_may_come_in_any_order(answer: Callable[..., Tensor]) -> None:
    forth = answer(points=[POINTS], labels=[[1, 0]])
    back = answer(points=[POINTS[::-1]], labels=[[0, 1]])
    assert torch.allclose(forth, back, atol=1e-5)


def test_a_box_of_nan_is_no_box(
    model: SegVolSegmenter, encoding: Encoding, answer: Callable[..., Tensor]
) -> None:
    half = torch.tensor([[1.0, 2.0, float("nan"), 3.0, 4.0, 5.0]])
    prompts = WindowPrompts(half, torch.zeros(1), torch.tensor([POINTS]).float(), torch.tensor([[1, 0]]))
    with torch.no_grad():
        logits = model.masks(encoding, torch.tensor([0]), prompts).logits
    assert torch.equal(logits, answer(points=[POINTS], labels=[[1, 0]]))
    assert logits.isfinite().all()


def test_boxes_are_cut_to_the_window_and_points_outside_left_out(answer: Callable[..., Tensor]) -> None:
    cut = answer(boxes=[(0, 4, 0, 8, 20, 48)], points=[POINTS], labels=[[1, 0]])
    wide = answer(boxes=[(-9, 4, -1, 80, 20, 49)], points=[[*POINTS, (3, 40, 3)]], labels=[[1, 0, 1]])
    assert torch.allclose(wide, cut, atol=1e-5)


def test_forward_takes_closed_boxes_and_agrees_with_masks(
    model: SegVolSegmenter, answer: Callable[..., Tensor]
) -> None:
    image = torch.randn(2, 1, *WINDOW, generator=torch.Generator().manual_seed(1))
    closed = torch.tensor([[1, 4, 6, 6, 19, 29], [0, 0, 0, 7, 31, 47]])
    points = (torch.tensor([POINTS, POINTS]), torch.tensor([[1, 0], [1, 1]]))
    with torch.no_grad():
        logits = model(image, boxes=closed, points=points)
    expected = answer(
        index=[0, 1], boxes=[BOX, (0, 0, 0, *WINDOW)], points=[POINTS, POINTS], labels=[[1, 0], [1, 1]]
    )
    assert torch.allclose(logits, expected, atol=1e-5)


def test_another_window_works(model: SegVolSegmenter) -> None:
    image = torch.randn(1, 1, 9, 40, 33, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits = model.masks(model.encode(image), torch.tensor([0]), WindowPrompts.build(boxes=[BOX])).logits
    assert logits.shape == (1, 1, 9, 40, 33)
    assert logits.isfinite().all()


def test_bfloat16_autocast_runs_on_the_cpu(model: SegVolSegmenter) -> None:
    image = torch.randn(1, 1, *WINDOW, generator=torch.Generator().manual_seed(1))
    previous = torch.ones(1, 1, *WINDOW)
    prompts = WindowPrompts.build(boxes=[BOX], points=[POINTS], labels=[[1, 0]], previous=previous)
    with torch.no_grad():
        exact = model.masks(model.encode(image), torch.tensor([0]), prompts).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model.masks(model.encode(image), torch.tensor([0]), prompts).logits
    assert rough.dtype == torch.float32
    assert differ(rough, exact) < 0.05


def test_training_reaches_every_parameter_that_makes_the_mask() -> None:
    torch.manual_seed(0)
    model = SegVolSegmenter(ViT(1, width=32, depth=1, heads=2, window=WINDOW), WINDOW, heads=2, hidden=32)
    prompts = WindowPrompts.build(
        boxes=[BOX, None],
        points=[POINTS, POINTS],
        labels=[[1, 0], [1, 0]],
        previous=torch.stack([torch.ones(1, *WINDOW), torch.zeros(1, *WINDOW)]),
    )
    model.masks(
        model.encode(torch.randn(1, 1, *WINDOW)), torch.tensor([0, 0]), prompts
    ).logits.square().mean().backward()
    silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    # SAM's alternatives and the quality head give other outputs.
    assert all("output_hypernetworks_mlps" in name or "iou_prediction_head" in name for name in silent)
    assert not any("output_hypernetworks_mlps.0" in name for name in silent)


def test_published_weights_see_intensities_as_in_their_training() -> None:
    """SegVol's own code: clip at percentiles of the foreground, standardise, min-max."""
    volume = np.random.default_rng(3).gamma(2, 30, (2, 1, 12, 50, 40)).astype(np.float32)
    expected = []
    for window in volume:
        foreground = window[window > window.mean()]
        clipped = np.clip(window, *np.percentile(foreground, [0.05, 99.95]))
        standard = (clipped - foreground.mean()) / foreground.std()
        expected.append((standard - standard.min()) / (standard.max() - standard.min()))
    for linear in (torch.from_numpy(volume), torch.from_numpy(volume) * 0.01 - 3):
        assert (foreground_scaled(linear) - torch.from_numpy(np.stack(expected))).abs().max() < 0.01
    assert not foreground_scaled(torch.full((1, 1, 2, 3, 4), 7.0)).any()


def test_only_a_published_model_rescales_its_windows() -> None:
    torch.manual_seed(0)
    encoder = ViT(1, width=32, depth=1, heads=2, window=WINDOW)
    image = torch.randn(1, 1, *WINDOW)
    scaled = foreground_scaled(image)
    with torch.no_grad():
        plain, published = (
            SegVolSegmenter(encoder, WINDOW, heads=2, hidden=32, published=kind).encode(image).features[0]
            for kind in (False, True)
        )
        assert torch.equal(plain, encoder(image)[0])
        assert torch.equal(published, encoder(scaled)[0])


def test_the_window_must_suit_the_encoder() -> None:
    with pytest.raises(ValueError, match=r"window \(8, 30, 48\) is no multiple of the encoder's stride"):
        SegVolSegmenter(ViT(1, width=32, depth=1, heads=2, window=WINDOW), (8, 30, 48))


def test_build_has_segvols_geometry() -> None:
    with torch.device("meta"):
        model = build_segvol("vit_b")
        published = build_segvol("vit_b", published=True)
    assert model.window == (32, 256, 256)
    assert model.zoom_out == "volume"
    image = torch.empty(1, 1, 32, 256, 256, device="meta")
    assert model.encode(image).features[0].shape == (1, 768, 8, 16, 16)
    transformer = model.mask_decoder.transformer
    assert len(transformer.layers) == 2
    assert transformer.layers[0].mlp.lin1.weight.shape == (2048, 768)
    assert model.mask_decoder.mask_tokens.weight.shape == (4, 768)
    assert published.mask_decoder.output_upscaling[1].weight.shape == (192, 16, 32, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_published_model_computes_what_segvol_computes(kind: str) -> None:
    window = SMALL.window
    model = SegVolSegmenter(ViT(1, width=64, depth=2, heads=4, window=window), window, published=True).eval()
    model.load_state_dict(seeded_state(model.state_dict()))
    with torch.no_grad():
        logits = model(seeded_image(window), **SMALL.prompts(kind))
    assert SMALL.gap(kind, logits) < 2e-5


def test_the_published_size_computes_what_segvol_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("segvol_vit_b", weights=None, device="meta")
    model.load_state_dict(seeded_state(model.state_dict()), assign=True)
    image = seeded_image(model.window)
    with torch.no_grad():
        encoding = model._encode(image)
        # The image is the same for all.
        monkeypatch.setattr(model, "_encode", lambda _: encoding)
        for kind in KINDS:
            logits = model(image, **FULL.prompts(kind))
            assert logits.shape == (1, 1, *FULL.window)
            assert FULL.gap(kind, logits) < 2e-5
