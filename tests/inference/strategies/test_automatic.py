"""Automatic targets: ranked by the masks a model makes of them. Most of it with a stand-in for the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lexor.geometry import Box
from lexor.inference.predictor import Predictor
from lexor.inference.runner import Look
from lexor.inference.settings import Ranking
from lexor.inference.strategies import automatic
from lexor.inference.strategies.automatic import (
    automatic_boxes,
    box_overlap,
    boxes_of,
    finder,
    middleness,
    score_of,
)
from lexor.io.case import Case

SHAPE = (24, 48, 48)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    inside: np.ndarray = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    return inside


class Reading:
    """Answers each look with what is bright (or, of `dark`, dark) in it, sure of bright things."""

    window = (24, 48, 48)

    def __init__(self, zoom_out: str = "object") -> None:
        self.model = SimpleNamespace(zoom_out=zoom_out)
        self.boxes: list[Box] = []

    def masks(self, volume: Tensor, looks: Sequence[Look]) -> Iterator[tuple[Look, Tensor, float]]:
        for look in looks:
            assert look.target.box is not None
            assert look.target.clicks.points == ()
            self.boxes.append(look.target.box)
            part = volume[0][look.target.box.slices].float()
            bright = float(part.mean()) > 100
            logits = (look.view.read(volume) - 140) / 10 if bright else (60 - look.view.read(volume)) / 10
            yield look, logits, 0.9 if bright else 0.6


@pytest.fixture
def two_balls() -> Case:
    """A small bright ball and a large dark one in grey, and air at a corner."""
    volume = np.full(SHAPE, 100, np.uint8)
    volume[ball((10, 13, 13), 6)] = 200
    volume[ball((13, 33, 32), 8)] = 20
    volume[0, 0, 0] = 0
    return Case("CT_two", volume, (1.0, 1.0, 1.0))


def test_two_balls_are_the_two_best(two_balls: Case) -> None:
    runner: Any = Reading()
    found = automatic_boxes(runner, two_balls, top=2)
    centres = sorted(tuple(round(c) for c in one.box.centre) for one in found)
    assert np.abs(np.array(centres) - [(10, 13, 13), (13, 33, 32)]).max() <= 1
    assert sorted(one.confidence or 0 for one in found) == [0.6, 0.9]
    # Both boxes were measured on masks: tight to a voxel.
    tight = sorted(one.box.shape for one in found)
    assert np.abs(np.array(tight) - [(13, 13, 13), (17, 17, 17)]).max() <= 1


def test_more_targets_only_add(two_balls: Case) -> None:
    runner: Any = Reading()
    few, many = (automatic_boxes(runner, two_balls, top=n) for n in (1, 4))
    assert len(few) == 1
    assert many[:1] == few
    for i, one in enumerate(many):
        assert all(box_overlap(one.box, other.box) < 0.8 for other in many[:i])


def test_the_box_of_algorithm_1_is_a_candidate_and_the_only_one_of_a_constant_volume(two_balls: Case) -> None:
    runner: Any = Reading()
    flat = replace(two_balls, volume=np.full(SHAPE, 7, np.uint8))
    (found,) = automatic_boxes(runner, flat, top=3)
    assert found.box == Box.whole(SHAPE)
    assert (found.kind, found.confidence, found.summary()) == ("intensity", None, "intensity")
    assert runner.boxes == []


def test_a_model_that_draws_nothing_leaves_the_box_of_algorithm_1(two_balls: Case) -> None:
    class Silent(Reading):
        def masks(self, volume: Tensor, looks: Sequence[Look]) -> Iterator[tuple[Look, Tensor, float]]:
            for look, logits, _ in super().masks(volume, looks):
                yield look, torch.full_like(logits, -1.0), 0.0

    runner: Any = Silent()
    (found,) = automatic_boxes(runner, two_balls, top=2)
    assert found.kind == "intensity"


def test_a_model_of_whole_volumes_ranks_nothing(two_balls: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    runner: Any = Reading("volume")
    assert finder(runner, two_balls, "cpu") is None
    runner = Reading()
    find = finder(runner, two_balls, "cpu")
    assert find is not None
    assert find(2) == automatic_boxes(runner, two_balls, 2)
    whole = torch.nn.Identity()
    monkeypatch.setattr(whole, "zoom_out", "volume", raising=False)
    monkeypatch.setattr(automatic, "create_model", lambda name, weights: whole)
    with pytest.raises(ValueError, match="segvol_vit_s: sees whole volumes"):
        boxes_of(two_balls, model="segvol_vit_s", device="cpu")
    (found,) = boxes_of(two_balls, "intensity", model="segvol_vit_s", device="cpu")
    assert found.kind == "intensity"


def test_score_by_hand() -> None:
    logits = torch.full((1, 4, 6, 6), -2.0)
    logits[0, 1:3, 2:4, 2:4] = 2.0
    logits[0, 1, 2, 1] = 0.5
    logits[0, 1, 2, 4] = -0.5
    # 9 voxels; 8 above a logit of 1, 10 above -1; none on a face.
    plain = Ranking(quality=1, stability=1, agreement=1, size=1, ending=1, middle=1)
    assert score_of(logits, 0.5, 0.9, 0.25, 0.8, plain) == pytest.approx(0.5 * 8 / 10 * 0.9 * 0.25 * 0.8)
    squared = replace(plain, quality=2, stability=0, agreement=0, size=0.5, ending=0, middle=0)
    assert score_of(logits, 0.5, 0.9, 0.25, 0.8, squared) == pytest.approx(0.25 * 0.5)
    logits[0, 0, 2, 2] = 2.0
    assert score_of(logits, 1.0, 1.0, 1.0, 1.0, replace(plain, stability=0)) == pytest.approx(9 / 10)
    assert score_of(torch.full((1, 4, 6, 6), -2.0), 1.0, 1.0, 1.0, 1.0, plain) == 0


def test_middleness_falls_from_the_middle_to_the_ends_along_each_axis() -> None:
    shape = (10, 20, 40)
    assert middleness(Box((4, 9, 19), (6, 11, 21), 5), shape) == pytest.approx(1)
    off = middleness(Box((4, 4, 19), (6, 6, 21), 5), shape)
    assert off == pytest.approx(0.5)
    assert middleness(Box((4, 14, 19), (6, 16, 21), 5), shape) == pytest.approx(off)
    assert middleness(Box((4, 4, 9), (6, 6, 11), 5), shape) == pytest.approx(off / 2)
    assert middleness(Box((0, 0, 0), (1, 1, 1), 0), shape) > 0


def test_overlap_of_boxes() -> None:
    one, other = Box((0, 0, 0), (4, 4, 4), 2), Box((0, 0, 2), (4, 4, 6), 2)
    assert box_overlap(one, one) == 1
    assert box_overlap(one, other) == pytest.approx(32 / 96)
    assert box_overlap(one, Box((4, 0, 0), (5, 4, 4), 4)) == 0


@pytest.mark.slow
def test_the_bundled_model_finds_the_ball_again_and_again(ball_case: Case) -> None:
    bare = replace(ball_case, boxes=(), clicks=())
    predictor = Predictor(device="cpu")
    first, second = predictor.segment(bare, "auto"), predictor.segment(bare)
    assert np.array_equal(first.labels, second.labels)
    (target,) = first.targets
    assert target.source == "automatic"
    assert not target.exact_z
    assert target.found is not None
    assert target.found.confidence is not None
    assert 0 < target.found.confidence <= 1
    assert box_overlap(target.found.box, ball_case.boxes[0] or target.found.box) > 0.6
    assert first.labels[12, 22, 25] == 1
    (paper,) = predictor.segment(bare, "intensity").targets
    assert paper.found is not None
    assert paper.found.kind == "intensity"


def test_a_large_volume_is_looked_at_reduced(two_balls: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    runner: Any = Reading()
    whole = automatic_boxes(runner, two_balls, 2)
    monkeypatch.setattr(automatic, "LOOKED_AT", two_balls.volume.size // 8)
    halved = automatic_boxes(runner, two_balls, 2)
    assert len(halved) == len(whole) == 2
    for one in halved:
        assert one.box.clipped(SHAPE) == one.box
        assert max(box_overlap(one.box, other.box) for other in whole) > 0.6
