from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lexor.evaluation.metrics import dice
from lexor.geometry import Box, Clicks
from lexor.inference.predictor import Predictor
from lexor.inference.runner import Runner
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies import strategy_of
from lexor.inference.strategies.boxed import segment_boxed
from lexor.inference.strategies.tracked import (
    elongation,
    piece_length,
    pieces,
    prolonged,
    segment_tracked,
    track,
)
from lexor.inference.targets import Target, resolve_targets
from lexor.inference.volume import Volume
from lexor.io.case import Case
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts


class NearTheBox(Segmenter):
    """Foreground is what is bright and not far from the prompt's box: sees nothing where it was sent astray."""

    window = (8, 32, 32)
    zoom_out = "object"

    def __init__(self) -> None:
        super().__init__()
        self.boxes: list[torch.Tensor] = []

    def encode(self, image: torch.Tensor) -> Encoding:
        return Encoding((image,), (8, 32, 32))

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        self.boxes += list(prompts.boxes)
        image = encoding.features[0][index]
        near = torch.zeros_like(image)
        for i, box in enumerate(prompts.boxes):
            low = (box[:3] - 8).clamp(min=0).floor().int().tolist()
            high = (box[3:] + 8).ceil().int().tolist()
            near[i, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1
        return Masks((image - 2.5) * near - 1 + near, torch.zeros(len(index)))


def drifting_tube(depth: int, drift: float, radius: float = 2.5, size: int = 64) -> np.ndarray:
    """A tube whose centre moves by `drift` pixels a slice along x, there and back along y."""
    z, y, x = np.ogrid[:depth, :size, :size]
    cx = size / 2 + drift * (np.arange(depth) - depth / 2)[:, None, None]
    cy = size / 2 + 6 * np.sin(np.arange(depth) / 9)[:, None, None]
    return (y - cy) ** 2 + (x - cx) ** 2 <= radius**2 + 0 * z


def case_of(mask: np.ndarray, z_mid: int) -> Case:
    rows, columns = np.flatnonzero(mask[z_mid].any(1)), np.flatnonzero(mask[z_mid].any(0))
    box = Box((0, rows[0], columns[0]), (len(mask), rows[-1] + 1, columns[-1] + 1), z_mid)
    return Case("CT_tube", np.where(mask, 220, 20).astype(np.uint8), (1.0, 1.0, 1.0), (box,), (), None, ())


@given(st.integers(24, 40), st.floats(-0.6, 0.6), st.floats(0, 1))
@settings(max_examples=6, deadline=None)
def test_a_tube_is_followed_out_of_its_box(depth: int, drift: float, where: float) -> None:
    mask = drifting_tube(depth, drift)
    case = case_of(mask, round(where * (depth - 1)))
    labels = Predictor(NearTheBox(), "cpu").predict(case)
    assert dice(labels == 1, mask) > 0.8
    assert (labels == 1).any((1, 2)).all(), "no slice of the box's exact range is left out"


def test_without_following_the_same_tube_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = drifting_tube(60, 0.9)
    never = replace(SETTINGS, tracking=replace(SETTINGS.tracking, elongation=np.inf))
    monkeypatch.setattr("lexor.inference.strategies.SETTINGS", never)
    lost = Predictor(NearTheBox(), "cpu").predict(case_of(mask, 30))
    monkeypatch.undo()
    found = Predictor(NearTheBox(), "cpu").predict(case_of(mask, 30))
    assert dice(lost == 1, mask) < 0.75 < 0.85 < dice(found == 1, mask)


def test_all_pieces_of_all_targets_are_seen_in_one_batch() -> None:
    mask = drifting_tube(60, 0.3)
    case = case_of(mask, 30)
    targets, _ = resolve_targets(Case("CT", case.volume, None, case.boxes * 2, (), None, ()))
    model = NearTheBox()
    answers = segment_tracked(Runner(model, torch.device("cpu"), batch=4), Volume.of(case.volume), targets)
    length = piece_length(*case.boxes[0].shape[1:], 1.0)
    assert length == 10
    assert len(model.boxes) == 2 * 11, "pieces of 10 slices that overlap by half"
    torch.testing.assert_close(answers[1].logits, answers[2].logits)
    assert answers[1].where[0] == slice(0, 60)


@given(st.integers(1, 50), st.integers(6, 20), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_pieces_cover_the_box_and_stay_in_its_slices(depth: int, length: int, first: int) -> None:
    box = Box((first, 5, 6), (first + depth, 9, 12), first)
    centres = np.stack([np.linspace(7, 20, depth), np.linspace(9, 0, depth)], 1)
    found = pieces(box, centres, length)
    covered = {z for piece in found for z in range(piece.lower[0], piece.upper[0])}
    assert covered == set(range(first, first + depth))
    for piece in found:
        assert piece.shape == (min(length, depth), 4, 6)
        y, x = centres[piece.z_mid - first]
        assert piece.lower[1] + 2 == pytest.approx(y, abs=0.5)
        assert piece.lower[2] + 3 == pytest.approx(x, abs=0.5)


# Together with its sway along y, of up to 0.67: three quarters of a pixel a slice.
@given(st.floats(-0.35, 0.35), st.integers(0, 39), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_the_track_stays_on_a_drifting_tube(drift: float, z_mid: int, seed: int) -> None:
    mask = drifting_tube(40, drift, size=80)
    noise = np.random.default_rng(seed).normal(0, 15, mask.shape)
    volume = np.clip(np.where(mask, 160, 80) + noise, 0, 255).astype(np.uint8)
    box = case_of(mask, z_mid).boxes[0]
    assert box is not None
    centres = track(volume, box, 1.0)
    true = np.array([ndimage.center_of_mass(plane) for plane in mask]) + 0.5
    error = np.linalg.norm(centres - true, axis=1)
    assert np.mean(error < 2.5) > 0.9, "the middle of the box is inside the tube, of radius 2.5"
    assert centres[z_mid] == pytest.approx([(box.lower[a] + box.upper[a]) / 2 for a in (1, 2)])


def test_the_track_shifts_flips_and_swaps_with_the_volume() -> None:
    mask = drifting_tube(30, 0.5)
    volume = np.where(mask, 200, 60).astype(np.uint8)
    volume += np.random.default_rng(0).integers(0, 30, volume.shape, dtype=np.uint8)
    box = case_of(mask, 12).boxes[0]
    assert box is not None
    centres = track(volume, box, 1.0)
    swapped = Box((0, box.lower[2], box.lower[1]), (30, box.upper[2], box.upper[1]), 12)
    assert track(volume.transpose(0, 2, 1), swapped, 1.0) == pytest.approx(centres[:, ::-1], abs=1e-6)
    flipped = Box((0, box.lower[1], 64 - box.upper[2]), (30, box.upper[1], 64 - box.lower[2]), 12)
    mirrored = track(volume[:, :, ::-1], flipped, 1.0)
    assert mirrored[:, 0] == pytest.approx(centres[:, 0], abs=0.3)
    assert mirrored[:, 1] == pytest.approx(64 - centres[:, 1], abs=0.3)
    upside = Box((0, *box.lower[1:]), (30, *box.upper[1:]), 17)
    assert track(volume[::-1], upside, 1.0)[::-1] == pytest.approx(centres, abs=0.3)


def test_nothing_to_see_leaves_the_box_where_it_is() -> None:
    box = Box((2, 5, 5), (20, 9, 9), 10)
    assert track(np.full((22, 30, 30), 50, np.uint8), box, 1.0) == pytest.approx(np.full((18, 2), 7.0))


def test_the_track_never_leaves_the_volume() -> None:
    mask = drifting_tube(40, 2.0)
    box = case_of(mask, 20).boxes[0]
    assert box is not None
    centres = track(np.where(mask, 200, 60).astype(np.uint8), box, 1.0)
    assert centres.min() >= 0
    assert centres.max() <= 64


def test_clicks_and_the_last_answer_reach_the_pieces_that_are_clicked() -> None:
    mask = drifting_tube(40, 0.0)
    seen: list[WindowPrompts] = []

    class Noting(NearTheBox):
        def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
            seen.append(prompts)
            return super().masks(encoding, index, prompts)

    case = case_of(mask, 20)
    previous = mask.astype(np.uint8)
    previous[30:, 20:28, 20:28] = 1  # nobody clicked there
    clicks = (Clicks(((10, 32, 32),), (True,)),)
    predictor = Predictor(Noting(), "cpu", zoom=None)
    labels = predictor.predict(Case("CT", case.volume, None, case.boxes, clicks, previous, ()))
    clicked = sum(len(prompts) for prompts in seen)
    for prompts in seen:
        assert prompts.previous is not None
        assert float(prompts.previous.amax()) == pytest.approx(4)
        assert (prompts.labels == 1).any(1).all()
    np.testing.assert_array_equal(labels[30:], previous[30:])
    seen.clear()
    predictor.predict(Case("CT", case.volume, None, case.boxes, (), previous, ()))
    assert 0 < clicked < sum(len(prompts) for prompts in seen), "without clicks every piece is seen anew"


def test_only_long_boxes_of_the_challenge_are_followed() -> None:
    box = Box((0, 10, 10), (20, 20, 20), 10)
    assert elongation(box, 1.0) == 2
    assert elongation(box, 3.0) == 6, "thick slices make it longer"
    model = NearTheBox()
    runner = Runner(model, torch.device("cpu"))
    thin, thick = (Volume(torch.zeros(1, 20, 40, 40, dtype=torch.uint8), ratio) for ratio in (1.0, 3.0))
    target = Target(1, box, Clicks((), ()), None, (0, 10, 10), (20, 20, 20), "box")
    assert strategy_of(runner, thin, target) is segment_boxed
    assert strategy_of(runner, thick, target) is segment_tracked
    automatic = Target(1, box, Clicks((), ()), None, (0, 10, 10), (20, 20, 20), "automatic")
    assert strategy_of(runner, thick, automatic) is segment_boxed, "its z range is a guess"
    model.zoom_out = "volume"
    assert strategy_of(runner, thick, target) is segment_boxed


def test_a_pieces_prompt_reaches_past_it_on_both_sides_of_its_slice() -> None:
    piece = Box((20, 5, 6), (30, 9, 12), 21)
    prompt = prolonged(piece, 10)
    assert prompt == Box((6, 5, 6), (37, 9, 12), 21)


def test_a_very_long_object_has_longer_pieces_not_more() -> None:
    volume = np.full((400, 24, 24), 60, np.uint8)
    volume[:, 10:13, 10:13] = 200
    box = Box((0, 10, 10), (400, 13, 13), 200)
    model = NearTheBox()
    labels = Predictor(model, "cpu").predict(Case("CT", volume, None, (box,), (), None, ()))
    assert 20 <= len(model.boxes) <= SETTINGS.tracking.most_pieces
    assert (labels == 1).any((1, 2)).all()
