from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.evaluation.metrics import dice
from lexor.geometry import Box, Clicks
from lexor.inference.merging import Answer
from lexor.inference.predictor import Predictor
from lexor.inference.runner import Runner
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies.searched import (
    box_around,
    centrality,
    clicked_parts,
    measured_box,
    nearly_right,
    plausibility,
    segment_searched,
)
from lexor.inference.targets import Target
from lexor.inference.views import View
from lexor.inference.volume import Volume
from lexor.io.case import Case
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts
from lexor.protocol.clicks import next_click

SHAPE = (24, 48, 48)
WHOLE = View((0.0, 0.0, 0.0), (24.0, 48.0, 48.0), SHAPE)


def ball(radius: float, centre: tuple[int, int, int] = (12, 24, 24)) -> np.ndarray:
    grid = np.ogrid[:24, :48, :48]
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) <= radius**2


@given(
    st.lists(st.tuples(*[st.integers(0, n - 1) for n in SHAPE]), min_size=1, max_size=4), st.floats(0.2, 10)
)
def test_a_box_around_clicks_holds_them_and_grows(points, ratio: float) -> None:
    clicks = Clicks(tuple(points), (True,) * len(points))
    boxes = [box_around(clicks, half, SHAPE, ratio) for half in SETTINGS.searching.boxes]
    for box in boxes:
        assert box.z_mid == points[0][0]
        for axis in range(3):
            assert 0 <= box.lower[axis] <= min(p[axis] for p in points)
            assert max(p[axis] for p in points) < box.upper[axis] <= SHAPE[axis]
    assert boxes[0].shape <= boxes[-1].shape


def test_a_box_around_clicks_does_not_reach_for_the_background() -> None:
    clicks = Clicks(((12, 40, 40), (12, 24, 24)), (False, True))
    assert box_around(clicks, 3, SHAPE, 1.0) == Box((9, 21, 21), (16, 28, 28), 12)
    only = Clicks(((12, 40, 40),), (False,))
    assert box_around(only, 3, SHAPE, 3.0) == Box((11, 37, 37), (14, 44, 44), 12)


def test_a_box_is_measured_as_the_challenge_does_it() -> None:
    mask = np.zeros((6, 10, 10), bool)
    mask[1:6, 2:4, 3:9] = True
    mask[1, 0:9, 0:9] = True  # not on the middle slice
    answer = Answer(
        (slice(10, 16), slice(20, 30), slice(5, 15)),
        torch.from_numpy(mask * 2.0 - 1),
        (40, 40, 40),
        (1.0, 1.0, 1.0),
    )
    assert measured_box(answer) == Box((11, 22, 8), (16, 24, 14), 13)
    with pytest.raises(ValueError, match="nothing was found"):
        measured_box(replace(answer, logits=torch.full((6, 10, 10), -1.0)))


def test_centrality() -> None:
    line = np.zeros((3, 5, 11), bool)
    line[1, 1:4, 1:10] = True
    assert centrality(line, (1, 2, 5), (1.0, 1.0, 1.0)) == 1
    assert centrality(line, (0, 0, 0), (1.0, 1.0, 1.0)) == 0
    # One slice thick: no voxel is deeper than 1.
    assert centrality(line, (1, 1, 1), (1.0, 1.0, 1.0)) == 1
    # With slices 3 voxels apart the middle row is 2 deep.
    assert centrality(line, (1, 1, 5), (3.0, 1.0, 1.0)) == pytest.approx(1 / 2)


@pytest.mark.parametrize("radius", [3, 6, 10])
def test_the_truth_explains_the_evaluators_clicks_best(radius: int) -> None:
    """The first click on it, and the second one after an answer that was too small."""
    truth, small = ball(radius), ball(radius / 3)
    first, second = next_click(np.zeros(SHAPE, bool), truth), next_click(small, truth)
    assert first is not None
    assert second is not None
    clicks = Clicks((first[0], second[0]), (first[1], second[1]))
    first_fits, last_fits = plausibility(clicks, WHOLE, truth, small)
    assert first_fits > 0.95
    assert last_fits > 0.85
    assert plausibility(clicks, WHOLE, small, small)[1] == 0, "the click changed nothing"
    middling = plausibility(clicks, WHOLE, ball(0.75 * radius), small)[1]
    assert middling < last_fits - 0.1, "the last answer lets it reach farther"
    assert plausibility(clicks, WHOLE, ball(radius, (12, 24, 27)), small)[0] < 0.9


def test_a_click_on_what_is_kept_explains_nothing() -> None:
    mask, clicks = ball(8), Clicks(((12, 24, 24), (12, 24, 30)), (False, False))
    assert plausibility(clicks, WHOLE, mask, mask) == (1, 0), (
        "no centre is known of what begins with background"
    )
    smaller = mask & (np.arange(48) < 28)
    assert plausibility(clicks, WHOLE, smaller, mask)[1] > 0.4
    assert plausibility(clicks, WHOLE, mask) == (1, 1), "without a last answer"


def test_foreground_clicks_are_counted_by_the_part_they_are_in() -> None:
    two = ball(4, (12, 10, 10)) | ball(4, (12, 30, 30))
    points = ((12, 10, 10), (12, 11, 11), (12, 30, 30), (12, 20, 20), (12, 40, 40))

    def parts(*wanted: bool | None) -> int:
        said = [(point, want) for point, want in zip(points, wanted, strict=False) if want is not None]
        return clicked_parts(Clicks(tuple(p for p, _ in said), tuple(w for _, w in said)), WHOLE, two)

    assert parts(True, True) == 1
    assert parts(True, True, True) == 2
    assert parts(True, None, True, True, True) == 4, "what is outside of the mask is in no part of it"
    assert parts(True, None, False, False) == 1, "background has no part"
    assert parts(None, None, None, False) == 1
    half = View((0.0, 0.0, 0.0), (24.0, 48.0, 48.0), (12, 24, 24))
    assert clicked_parts(Clicks(points[:3], (True,) * 3), half, two[::2, ::2, ::2]) == 2


class Boxed(Segmenter):
    """Fills the box that it is given, or a small ball around the click, and knows how well the box fits."""

    window = (8, 16, 16)
    zoom_out = "object"

    def encode(self, image: torch.Tensor) -> Encoding:
        return Encoding((image,), (image.shape[2], image.shape[3], image.shape[4]))

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        logits = torch.full((len(index), 1, *self.window), -4.0)
        grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in self.window), indexing="ij"), -1)
        quality = torch.full((len(index),), -3.0)
        for i in range(len(index)):
            if prompts.has_box[i]:
                lower, upper = prompts.boxes[i].view(2, 3)
                logits[i, 0][((grid + 0.5 > lower) & (grid + 0.5 < upper)).all(-1)] = 4.0
                # Bright is foreground: the share of it in the box, and of the box in it.
                bright = encoding.features[0][index[i], 0] > 0
                inside = logits[i, 0] > 0
                score = 2 * (bright & inside).sum() / (bright.sum() + inside.sum())
                quality[i] = 6 * score - 3
            else:
                logits[i, 0][((grid - prompts.points[i, 0]) ** 2).sum(-1) <= 1.5] = 4.0
        return Masks(logits, quality)


def block(half: int) -> np.ndarray:
    mask = np.zeros((60, 120, 120), bool)
    mask[30 - half : 31 + half, 60 - half : 61 + half, 60 - half : 61 + half] = True
    return mask


@pytest.mark.parametrize("half", SETTINGS.searching.boxes[:2])
def test_of_boxes_of_many_sizes_the_one_that_fits_is_found(half: int) -> None:
    volume = Volume.of(block(half) * np.uint8(200))
    runner = Runner(Boxed(), torch.device("cpu"), zoom=None)
    clicks = Clicks(((30, 60, 60),), (True,))
    target = Target(1, None, clicks, None, (0.0, 0.0, 0.0), (60.0, 120.0, 120.0), "clicks")
    (answer,) = segment_searched(runner, volume, [target]).values()
    found = np.zeros(volume.shape, bool)
    found[answer.where] = answer.logits.numpy() > 0
    assert dice(found, block(half)) > 0.8


def test_a_large_ball_is_found_again_after_a_tiny_answer() -> None:
    """The second click says that the first answer, a few voxels, was far too small."""
    grid = np.ogrid[:40, :96, :96]
    truth = (
        sum(
            ((axis - at) / size) ** 2 for axis, at, size in zip(grid, (20, 48, 48), (14, 30, 30), strict=True)
        )
        <= 1
    )
    noise = np.random.default_rng(0).normal(0, 6, truth.shape)
    volume = (np.where(truth, 170, 60) + noise).clip(0, 255).astype(np.uint8)
    tiny = np.zeros(truth.shape, np.uint8)
    tiny[19:22, 46:51, 46:51] = 1
    first, second = next_click(tiny == 2, truth), next_click(tiny == 1, truth)
    assert first is not None
    assert second is not None
    clicks = Clicks((first[0], second[0]), (first[1], second[1]))
    case = Case("CT_ball", volume, (1.0, 1.0, 1.0), (), (clicks,), tiny, ())
    assert dice(Predictor(device="cpu").predict(case) == 1, truth) > 0.7


class Keeping(Boxed):
    """As `Boxed`, but sticks to an answer that comes along with a box."""

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        masks = super().masks(encoding, index, prompts)
        if prompts.previous is not None:
            kept = prompts.has_box & prompts.previous.flatten(1).any(1)
            masks.logits[kept] = prompts.previous[kept]
        return masks


@pytest.mark.parametrize(("x", "corrected"), [(78, True), (74, False)])
def test_a_last_answer_that_is_nearly_right_is_corrected(x: int, corrected: bool) -> None:
    volume = Volume.of(block(11) * np.uint8(200))
    # The last answer has an ear that is not in the image.
    last = block(11)
    last[24:37, 54:67, 40:80] = True
    clicks = Clicks(((30, 60, 60), (30, 60, x)), (True, False))
    target = Target(
        1, None, clicks, last.astype(np.uint8), (19.0, 40.0, 40.0), (42.0, 80.0, 80.0), "previous"
    )
    (answer,) = segment_searched(Runner(Keeping(), torch.device("cpu"), zoom=None), volume, [target]).values()
    found = np.zeros(volume.shape, bool)
    found[answer.where] = answer.logits.numpy() > 0
    assert found[30, 60, 76] == corrected, "the ear is the last answer's"
    assert dice(found & block(11), block(11)) > 0.8


@given(st.integers(4, 11), st.tuples(*[st.integers(0, n - 1) for n in SHAPE]))
def test_an_answer_is_nearly_right_where_its_surface_is_near_to_what_corrects_it(
    radius: int, point: tuple[int, int, int]
) -> None:
    last = ball(radius)
    clicks = Clicks(((12, 24, 24), point), (True, not last[point]))
    target = Target(1, None, clicks, last.astype(np.uint8), (0.0, 0.0, 0.0), (24.0, 48.0, 48.0), "previous")
    off = np.linalg.norm(np.array(point) - (12, 24, 24)) - radius
    if abs(abs(off) - SETTINGS.searching.near * radius) > 1:
        assert nearly_right(target) == (abs(off) < SETTINGS.searching.near * radius)
    assert not nearly_right(replace(target, previous=None))
