from dataclasses import replace

import numpy as np
import pytest
import torch

from lexor.geometry import Clicks
from lexor.inference.merging import Answer
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies.holding import hold
from lexor.inference.targets import Target, click_voxels

SHAPE = (20, 40, 40)
PART = (slice(2, 18), slice(0, 40), slice(5, 40))
CLICK = (10, 20, 20)


def last_answer() -> np.ndarray:
    """Labels of class 1, a block, with class 2 beside it."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:16, 10:30, 10:30] = 1
    labels[4:16, 10:30, 30:35] = 2
    return labels


def target(*clicks: tuple[tuple[int, int, int], bool], previous: np.ndarray | None = None) -> Target:
    points = Clicks(tuple(p for p, _ in clicks), tuple(f for _, f in clicks))
    return Target(1, None, points, previous, (4.0, 10.0, 10.0), (16.0, 30.0, 30.0), "box")


def held(given: Target, logit: float = 0.0) -> np.ndarray:
    """The logits on the volume; infinite where the answer is not."""
    size = [s.stop - s.start for s in PART]
    found = np.full(SHAPE, np.inf)
    found[PART] = hold(Answer(PART, torch.full(size, logit), SHAPE, (1.0, 1.0, 1.0)), given).logits.numpy()
    return found


def test_without_a_last_answer_nothing_is_held() -> None:
    assert set(np.unique(held(target((CLICK, True)), 0.3)[PART])) == {np.float32(0.3)}


def test_what_nobody_corrected_leans_as_it_was() -> None:
    """Whether no click has come, or all clicks were honoured before."""
    labels = last_answer()
    for given in (target(previous=labels), target((CLICK, True), ((10, 20, 32), False), previous=labels)):
        logits = held(given)[PART]
        np.testing.assert_allclose(
            logits, np.where(labels[PART] == 1, SETTINGS.holding.lean, -SETTINGS.holding.lean), rtol=1e-6
        )


@pytest.mark.parametrize(("point", "foreground"), [(CLICK, False), ((10, 20, 33), True), ((3, 8, 8), True)])
def test_around_a_click_that_corrects_the_answer_is_new(
    point: tuple[int, int, int], foreground: bool
) -> None:
    labels = last_answer()
    new = held(target((point, foreground), previous=labels), 0.2)
    assert new[point] == pytest.approx(0.2)
    share = np.abs(new[PART] - 0.2) / SETTINGS.holding.lean
    z, y, x = (np.arange(s.start, s.stop) - p for s, p in zip(PART, point, strict=True))
    distance = np.sqrt((z[:, None, None] / 12) ** 2 + (y[:, None] / 20) ** 2 + (x / 20) ** 2)
    order = np.argsort(distance.ravel(), kind="stable")
    assert (np.diff(share.ravel()[order]) >= -1e-6).all(), "the farther, the more is held"
    assert share[distance > 1.2] == pytest.approx(1, abs=0.01)


def test_two_corrections_are_both_free() -> None:
    labels = last_answer()
    points = CLICK, (14, 12, 33)
    new = held(target((points[0], False), (points[1], True), previous=labels))
    assert [new[point] for point in points] == [0, 0]


def test_of_clicks_on_one_voxel_the_latest_counts() -> None:
    """As it does for the voxel itself (`merging.honour_clicks`)."""
    overruled = target((CLICK, False), (CLICK, True), previous=last_answer())
    assert overruled.corrections == []
    assert held(overruled)[CLICK] == pytest.approx(SETTINGS.holding.lean)


def test_a_small_target_is_free_next_to_its_click() -> None:
    """A size of one voxel would hold all but the very voxel of the click."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[CLICK] = 1
    lower, upper = click_voxels(Clicks((CLICK,), (True,)))[0]
    small = replace(target(((10, 20, 21), True), previous=labels), lower=lower, upper=upper)
    assert abs(held(small)[10, 20, 22]) < SETTINGS.holding.lean
