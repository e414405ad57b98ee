from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexor.geometry import Box
from lexor.protocol.boxes import draw_box
from lexor.training.object_samples import Mix, make_sample
from lexor.training.samples import Subject, collate, degrade, error_click

WINDOW = (12, 24, 24)


def ball(shape=(20, 40, 40), centre=(9, 18, 22), radius=6) -> np.ndarray:
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def test_the_challenges_box_of_a_ball() -> None:
    mask = ball()
    shifts = set()
    for seed in range(40):
        box = draw_box(mask, np.random.default_rng(seed), (512, 512))
        assert (box.lower[0], box.upper[0], box.z_mid) == (3, 16, 9)
        shift = 12 - box.lower[1]
        shifts.add(shift)
        assert shift in (0, 2, 4, 6, 8, 10)
        assert box.lower == (3, 12 - shift, 16 - shift)
        assert box.upper == (16, 25 + shift, min(29 + shift, 40))
    assert shifts == {0, 2, 4, 6, 8, 10}


def test_y_and_x_are_measured_on_the_middle_slice_only() -> None:
    mask = np.zeros((5, 10, 10), bool)
    mask[0, :, :] = True
    mask[1:, 4:6, 4:7] = True
    box = draw_box(mask, np.random.default_rng(0))
    assert box == Box((0, 4, 4), (5, 6, 7), 2)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_samples_are_consistent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.where(ball(), 200, 50).astype(np.uint8)
    sample = make_sample(Subject(image, [ball()]), 0, WINDOW, Mix(), rng)
    if sample is None:
        return
    assert sample.image.shape == sample.target.shape == sample.previous.shape == (1, *WINDOW)
    assert torch.isfinite(sample.image).all()
    assert 0 <= float(sample.target.min()) <= float(sample.target.max()) <= 1
    if not sample.points and not torch.isnan(sample.box).any() and not sample.previous.any():
        # A ball's box holds it, wherever mirroring put both.
        inside = torch.nonzero(sample.target[0] > 0.5).float() + 0.5
        assert (inside >= sample.box[:3] - 1).all()
        assert (inside <= sample.box[3:] + 1).all()
        assert (sample.box[3:] > sample.box[:3]).all()
    for point, label in zip(sample.points, sample.labels, strict=True):
        z, y, x = (int(c) for c in point)
        assert (float(sample.target[0, z, y, x]) > 0.5) == bool(label)


def test_the_click_is_the_innermost_voxel_of_the_largest_error() -> None:
    truth = np.zeros((9, 20, 20), bool)
    truth[2:7, 5:14, 5:14] = True
    click = error_click(np.zeros_like(truth), truth, np.random.default_rng(0))
    assert click is not None
    point, label = click
    assert label == 1
    assert point[0] == 4
    assert 7 <= point[1] <= 11
    answer = truth.copy()
    answer[0:2, 15:20, 15:20] = True
    answer[4, 5, 5] = False
    click = error_click(answer, truth, np.random.default_rng(0))
    assert click is not None
    assert click[1] == 0
    assert click[0][1] > 14
    assert error_click(truth, truth, np.random.default_rng(0)) is None


def test_degraded_answers_are_near_and_wrong() -> None:
    target = torch.from_numpy(ball().astype(np.float32))[None]
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(20):
        answer = degrade(target, rng)[0] > 0
        truth = target[0] > 0.5
        scores.append(float(2 * (answer & truth).sum() / (answer.sum() + truth.sum())))
    assert 0.2 < np.mean(scores) < 0.95
    assert max(scores) < 1


def test_collate_pads_clicks() -> None:
    subject = Subject(np.where(ball(), 200, 50).astype(np.uint8), [ball()])
    samples = []
    rng = np.random.default_rng(0)
    while len({len(s.points) for s in samples}) < 2:
        sample = make_sample(subject, 0, WINDOW, Mix(zoom_in=0, clicks=0.5), rng)
        assert sample is not None
        samples.append(sample)
    images, truth, prompts = collate(samples)
    assert images.shape == truth.mask.shape == (len(samples), 1, *WINDOW)
    for i, sample in enumerate(samples):
        assert int((prompts.labels[i] >= 0).sum()) == len(sample.points)


@pytest.mark.parametrize("kind", ["zoom_in", "clicks"])
def test_mixes_choose_the_kind(kind: str) -> None:
    subject = Subject(np.where(ball(), 200, 50).astype(np.uint8), [ball()])
    mix = Mix(**{"zoom_in": 0.0, "clicks": 0.0, "no_box": 0.0, "other_axes": 0.0, kind: 1.0})
    sample = make_sample(subject, 0, WINDOW, mix, np.random.default_rng(0))
    assert sample is not None
    assert sample.previous.any()
    assert bool(sample.points) == (kind == "clicks")


def test_long_targets_are_shown_in_pieces_prompted_along_their_track() -> None:
    z, y, x = np.ogrid[:60, :64, :64]
    centre = 12 + 0.65 * np.arange(60)[:, None, None]
    tube = (y - 32) ** 2 + (x - centre) ** 2 <= 3**2 + 0 * z
    subject = Subject(np.where(tube, 200, 50).astype(np.uint8), [tube])
    mix = Mix(zoom_in=0, clicks=0, other_axes=0, pieces=1)
    inside, reach = [], []
    for seed in range(40):
        sample = make_sample(subject, 0, WINDOW, mix, np.random.default_rng(seed))
        assert sample is not None
        low, high = sample.box[:3], sample.box[3:]
        reach.append(float(high[0] - low[0]))
        # On the measured slice the box is where the target is; the box of the whole would be there for a few only.
        plane = sample.target[0, round(float(sample.z_mid))]
        spots = torch.nonzero(plane > 0.5).float().mean(0) + 0.5
        inside.append(bool(((spots > low[1:]) & (spots < high[1:])).all()))
    assert min(reach) > 1.5 * WINDOW[0], "a tube that goes on past the window"
    assert np.mean(inside) > 0.8
    never = [make_sample(subject, 0, WINDOW, Mix(0, 0, 0, 0, 0), np.random.default_rng(s)) for s in range(5)]
    assert max(float(s.box[3] - s.box[0]) for s in never if s is not None) <= WINDOW[0]


def test_other_targets_are_clicked_as_background() -> None:
    """Nested, and beside it: in the others, not in the target; whichever axis stands for z."""
    inner, beside = ball(centre=(9, 20, 20), radius=3), ball(centre=(9, 20, 33), radius=4)
    outer = ball(centre=(9, 20, 20), radius=8)
    image = np.where(outer | beside, 200, 50).astype(np.uint8)
    mix = Mix(zoom_in=0, clicks=1, no_box=0.5, others=1)
    more = 0
    for seed in range(40):
        subject = Subject(image, [outer & ~inner, inner, beside])
        sample = make_sample(subject, 0, WINDOW, mix, np.random.default_rng(seed))
        alone = make_sample(subject, 0, WINDOW, replace(mix, others=0), np.random.default_rng(seed))
        assert sample is not None
        assert alone is not None
        more += len(sample.points) - len(alone.points)
        for point, label in zip(sample.points, sample.labels, strict=True):
            z, y, x = (round(c) for c in point)
            assert label or float(sample.target[0, z, y, x]) <= 0.5 or point in alone.points
    assert more > 80


def test_a_doubtful_box_is_scored_by_what_it_meets() -> None:
    """Every such sample gives its answer no mask to learn, and counts what its view does not show."""
    image = np.where(ball(), 200, 50).astype(np.uint8)
    left, right = ball(centre=(9, 12, 10), radius=5), ball(centre=(9, 26, 29), radius=5)
    clicked = empty = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sample = make_sample(Subject(image, [left, right]), 0, WINDOW, Mix(doubtful=1), rng)
        assert sample is not None
        assert not sample.learnt
        assert torch.isfinite(sample.box).all()
        assert (sample.box[3:] > sample.box[:3]).all()
        clicked += len(sample.points)
        if not float(sample.target.max()):
            empty += 1
            assert sample.hidden == 0
        if sample.points and float(sample.target.max()):
            (z, y, x), label = (round(c) for c in sample.points[0]), sample.labels[0]
            assert label == 1
            assert float(sample.target[0, z, y, x]) > 0
    assert 15 < clicked < 45
    assert 0 < empty < 45


def test_what_a_small_view_hides_is_counted() -> None:
    """Without a box some views are too small: seen and hidden voxels then make up the whole target."""
    mask = ball((40, 80, 80), (20, 40, 40), 16)
    subject = Subject(np.where(mask, 200, 50).astype(np.uint8), [mask])
    hidden = []
    for seed in range(80):
        mix = Mix(clicks=1, zoom_in=0, no_box=1, other_axes=0)
        sample = make_sample(subject, 0, WINDOW, mix, np.random.default_rng(seed))
        assert sample is not None
        hidden.append(sample.hidden / (sample.hidden + float(sample.target.sum())))
    assert min(hidden) < 0.01
    assert max(hidden) > 0.3
