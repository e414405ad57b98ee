import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexor.case import Box, Case, Clicks
from lexor.evaluation.metrics import dice
from lexor.inference import following
from lexor.inference.following import elongation, follow, piece_length, prolonged
from lexor.inference.predictor import Predictor
from lexor.inference.runner import Runner
from lexor.inference.targets import Target, resolve_targets
from lexor.models.prompts import WindowPrompts
from lexor.models.segmenter import Encoding, Masks, Segmenter


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
    monkeypatch.setattr("lexor.inference.predictor.ELONGATION", np.inf)
    lost = Predictor(NearTheBox(), "cpu").predict(case_of(mask, 30))
    monkeypatch.undo()
    found = Predictor(NearTheBox(), "cpu").predict(case_of(mask, 30))
    assert dice(lost == 1, mask) < 0.75 < 0.85 < dice(found == 1, mask)


def test_pieces_are_walked_in_steps_for_all_targets_at_once() -> None:
    mask = drifting_tube(60, 0.3)
    case = case_of(mask, 30)
    volume = torch.from_numpy(case.volume)[None]
    targets, _ = resolve_targets(Case("CT", case.volume, None, case.boxes * 2, (), None, ()))
    model = NearTheBox()
    answers = follow(Runner(model, torch.device("cpu"), batch=4), volume, targets, 1.0)
    length = piece_length(*case.boxes[0].shape[1:], 1.0)
    assert length == 10
    # The first piece covers slices 25 to 34; each of the others goes on 8 slices further, to 0 and to 59.
    assert len(model.boxes) == 2 * (1 + 2 * 4)
    torch.testing.assert_close(answers[1].logits, answers[2].logits)
    assert answers[1].where[0] == slice(0, 60)


def test_clicks_and_the_last_answer_reach_every_piece() -> None:
    mask = drifting_tube(40, 0.0)
    seen: list[WindowPrompts] = []

    class Noting(NearTheBox):
        def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
            seen.append(prompts)
            return super().masks(encoding, index, prompts)

    case = case_of(mask, 20)
    previous = mask.astype(np.uint8)
    clicks = (Clicks(((20, 32, 32),), (True,)),)
    Predictor(Noting(), "cpu").predict(Case("CT", case.volume, None, case.boxes, clicks, previous, ()))
    assert seen
    for prompts in seen:
        assert prompts.previous is not None
        assert float(prompts.previous.amax()) == pytest.approx(4)
        assert (prompts.labels == 1).any(1).all()


def test_only_long_boxes_of_the_challenge_are_followed() -> None:
    box = Box((0, 10, 10), (20, 20, 20), 10)
    assert elongation(box, 1.0) == 2
    assert elongation(box, 3.0) == 6, "thick slices make it longer"
    model, predictor = NearTheBox(), Predictor(NearTheBox(), "cpu")
    target = Target(1, box, Clicks((), ()), None, (0, 10, 10), (20, 20, 20), "box")
    assert not predictor._is_long(target, 1.0)
    assert predictor._is_long(target, 3.0)
    automatic = Target(1, box, Clicks((), ()), None, (0, 10, 10), (20, 20, 20), "automatic")
    assert not predictor._is_long(automatic, 3.0), "its z range is a guess"
    model.zoom_out = "volume"
    assert not Predictor(model, "cpu")._is_long(target, 3.0)


def test_a_pieces_prompt_reaches_past_it_on_both_sides_of_its_slice() -> None:
    piece = Box((20, 5, 6), (30, 9, 12), 21)
    prompt = prolonged(piece, 10)
    assert prompt == Box((6, 5, 6), (37, 9, 12), 21)


@pytest.mark.parametrize(
    ("found", "measured"),
    [
        ((slice(4, 9), slice(6, 10)), ((104, 206), (109, 210))),  # a plausible change is believed
        ((slice(0, 20), slice(0, 20)), ((108, 208), (112, 212))),  # leaked: where it is, at the size it had
        ((slice(15, 16), slice(19, 20)), ((113, 216), (117, 220))),  # nearly lost at the edge: stays in sight
        ((slice(0, 0), slice(0, 0)), ((107, 207), (111, 211))),  # lost: the box it had
    ],
)
def test_the_next_box_is_measured_on_the_answer(found, measured) -> None:
    logits = torch.full((20, 20), -1.0)
    logits[found] = 1
    where = (slice(50, 60), slice(100, 120), slice(200, 220))
    lower, upper = following._measure(logits, Box((50, 107, 207), (60, 111, 211), 55), where)
    assert (lower, upper) == measured
