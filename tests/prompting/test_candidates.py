"""Candidates: what stands out is found, wherever it is, whatever its polarity, scale and zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexor.geometry import Box
from lexor.prompting import Candidate, CandidateParameters, propose
from lexor.prompting.candidates import box_overlaps, suppressed
from lexor.prompting.masks import masks_of
from lexor.prompting.reduction import block_means, reduction_factors

SHAPE = (30, 48, 52)


def scene(*balls: tuple[tuple[int, int, int], float, float]) -> np.ndarray:
    """A grey volume with balls of (centre, radius, difference), int64."""
    volume = np.full(SHAPE, 100.0)
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    # Air at the corner, as any scan has some.
    volume[0, 0, 0] = 0
    for (cz, cy, cx), radius, difference in balls:
        volume[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2] += difference
    return volume


def overlap(box: Box, centre: tuple[int, int, int], radius: float) -> float:
    low = np.array([c - radius for c in centre])
    high = np.array([c + radius + 1 for c in centre])
    both = np.stack([np.array(box.lower, float), low]), np.stack([np.array(box.upper, float), high])
    return float(box_overlaps(*both)[0, 1])


def best(candidates: list[Candidate], centre: tuple[int, int, int], radius: float) -> tuple[float, Candidate]:
    return max(((overlap(c.box, centre, radius), c) for c in candidates), key=lambda pair: pair[0])


@pytest.mark.parametrize("difference", [80.0, -60.0, 15.0])
def test_a_ball_is_found_bright_or_dark(difference: float) -> None:
    found, candidate = best(propose(scene(((14, 22, 30), 7, difference))), (14, 22, 30), 7)
    assert found > 0.6
    assert candidate.support > 1
    assert candidate.box.z_mid == pytest.approx(14, abs=1)


def test_two_balls_are_two_candidates() -> None:
    candidates = propose(scene(((10, 14, 14), 6, 70.0), ((18, 34, 38), 7, -50.0)))
    (first, one), (second, two) = (
        best(candidates, (10, 14, 14), 6),
        best(candidates, (18, 34, 38), 7),
    )
    assert min(first, second) > 0.6
    assert one is not two


offsets = st.tuples(st.integers(-5, 5), st.integers(-8, 8), st.integers(-8, 8))


@settings(max_examples=15)
@given(offsets)
def test_shifted_volume_shifts_boxes(offset: tuple[int, int, int]) -> None:
    centre = (15, 24, 26)
    moved = tuple(c + o for c, o in zip(centre, offset, strict=True))
    here = best(propose(scene((centre, 7, 60.0))), centre, 7)[1].box
    there = best(propose(scene(((moved[0], moved[1], moved[2]), 7, 60.0))), moved, 7)[1].box
    for axis in range(3):
        assert abs(there.lower[axis] - here.lower[axis] - offset[axis]) <= 1
        assert abs(there.upper[axis] - here.upper[axis] - offset[axis]) <= 1


@settings(max_examples=15)
@given(offsets)
def test_reduced_volume_finds_it_to_the_rounding(offset: tuple[int, int, int]) -> None:
    centre = tuple(c + o for c, o in zip((15, 24, 26), offset, strict=True))
    parameters = CandidateParameters(voxels=12_000)
    factors = reduction_factors(SHAPE, 12_000)
    assert factors == (2, 2, 2)
    box = best(propose(scene(((centre[0], centre[1], centre[2]), 7, 60.0)), 1.0, parameters), centre, 7)[
        1
    ].box
    for axis in range(3):
        assert abs(box.lower[axis] - (centre[axis] - 7)) <= 3
        assert abs(box.upper[axis] - (centre[axis] + 8)) <= 3


@settings(max_examples=15)
@given(st.sampled_from([0.25, 0.5, 2.0, 8.0]), st.integers(-500, 500))
def test_scale_and_zero_of_intensities_do_not_matter(scale: float, zero: int) -> None:
    rng = np.random.default_rng(3)
    volume = scene(((14, 22, 30), 7, 64.0)) + rng.integers(0, 8, SHAPE)
    assert propose(volume * scale + zero) == propose(volume)


@settings(max_examples=7)
@given(st.sets(st.integers(0, 2), min_size=1))
def test_flips_flip_the_box(axes: set[int]) -> None:
    volume = scene(((12, 20, 31), 7, 60.0))
    centre = [12, 20, 31]
    here = best(propose(volume), (12, 20, 31), 7)[1].box
    for axis in axes:
        centre[axis] = SHAPE[axis] - 1 - centre[axis]
    there = best(propose(np.flip(volume, tuple(axes))), (centre[0], centre[1], centre[2]), 7)[1].box
    for axis in range(3):
        low, high = here.lower[axis], here.upper[axis]
        if axis in axes:
            low, high = SHAPE[axis] - high, SHAPE[axis] - low
        # Of an even number of slices the middle one is not its own mirror image.
        assert abs(there.lower[axis] - low) <= 1
        assert abs(there.upper[axis] - high) <= 1


def test_same_input_same_output_and_inside_the_volume() -> None:
    volume = np.random.default_rng(1).integers(0, 256, (9, 40, 31)).astype(np.uint8)
    found = propose(volume, 3.0)
    assert found == propose(volume, 3.0)
    for candidate in found:
        assert candidate.box.clipped(volume.shape) == candidate.box


def test_a_constant_volume_has_no_candidates() -> None:
    assert propose(np.full((5, 6, 7), 9, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 30, 30), (40, 1, 1), (2, 2, 2)])
def test_degenerate_shapes_are_searched(shape: tuple[int, int, int]) -> None:
    volume = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    for candidate in propose(volume):
        assert candidate.box.clipped(shape) == candidate.box


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("difference", [80.0, -60.0])
def test_few_slices_have_candidates_too(slices: int, difference: float) -> None:
    volume = scene(((14, 22, 30), 7, difference))[14 : 14 + slices]
    volume[0, 0, 0] = 0
    truth = np.array([0, 15, 23, slices, 30, 38])
    errors = [np.abs(np.array([*c.box.lower, *c.box.upper]) - truth).max() for c in propose(volume)]
    assert min(errors) <= 2


def test_central_boxes_come_last() -> None:
    candidates = propose(scene(((14, 22, 30), 7, 60.0)), 1.0, CandidateParameters(central=(0.5,)))
    assert [c.kind == "central" for c in candidates] == [False] * (len(candidates) - 1) + [True]
    # A quarter of each axis is left out on both sides, in whole voxels (a half to even).
    assert candidates[-1].box == Box((8, 12, 13), (22, 36, 39), 14)


def test_reduction_keeps_voxels_near_cubes() -> None:
    assert reduction_factors((160, 512, 512), 300_000) == (5, 6, 6)
    assert reduction_factors((20, 512, 512), 300_000, 5.0)[0] == 1
    assert reduction_factors((3, 4, 5), 1) == (4, 5, 5)
    assert reduction_factors((10, 10, 10), 1000) == (1, 1, 1)


def test_means_of_blocks() -> None:
    volume = np.arange(2 * 3 * 5).reshape(2, 3, 5).astype(np.uint8)
    means = block_means(volume, (2, 2, 2))
    assert means.dtype == np.float32
    assert means.shape == (1, 2, 3)
    assert means[0, 0, 0] == volume[:, :2, :2].mean()
    assert means[0, 1, 2] == volume[:, 2:, 4:].mean()
    assert np.array_equal(block_means(volume, (1, 1, 1)), volume)


def test_masks_by_hand() -> None:
    volume = np.zeros((1, 1, 12), np.float32)
    volume[0, 0, 2:] = np.arange(10, 20)
    parameters = CandidateParameters(
        smoothing=1e-3, levels=2, widest=2, tails=(0.2,), scales=(1.0,), contrast=(9.0,)
    )
    masks = [(kind, np.flatnonzero(mask).tolist()) for kind, mask in masks_of(volume, parameters)]
    assert masks == [
        ("body", list(range(2, 12))),
        ("band", list(range(2, 7))),
        ("band", list(range(7, 12))),
        ("band", list(range(2, 12))),
        ("bright", [11]),
        ("dark", [2, 3]),
        ("raised", []),
        ("sunken", []),
    ]


def test_suppression() -> None:
    overlaps = box_overlaps(
        np.array([[0, 0, 0], [0, 0, 1], [9, 9, 9]], float),
        np.array([[4, 4, 4], [4, 4, 5], [10, 10, 10]], float),
    )
    assert overlaps[0, 1] == pytest.approx(48 / 80)
    assert overlaps[0, 2] == 0
    assert suppressed([1, 0, 2], overlaps, 0.5) == [1, 2]
    assert suppressed([1, 0, 2], overlaps, 0.6) == [1, 0, 2]
    assert suppressed([1, 0, 2], overlaps, 0.6, 2) == [1, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("voxels", 0),
        ("levels", 1),
        ("levels", 256),
        ("widest", 13),
        ("largest", 1.5),
        ("smallest", -1),
        ("most", True),
        ("smoothing", 0.0),
        ("overlap", 1.0),
        ("tails", (0.1, 1.0)),
        ("scales", (float("nan"),)),
        ("contrast", (-1.0,)),
        ("central", (0.0,)),
        ("voxels", 10**10),
        ("smoothing", 1e9),
        ("smoothing", 1e-300),
        ("overlap", float("nan")),
        ("scales", (1e6,)),
        ("contrast", (float("inf"),)),
        ("largest", 10**9),
        ("smallest", 10**30),
        ("most", 10**6),
        ("tails", (0.1,) * 17),
    ],
)
def test_refuses_a_value_out_of_range_and_names_it(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as refusal:
        CandidateParameters(**{name: value})
    assert "\n" not in str(refusal.value)


def test_refuses_more_masks_than_anyone_waits_for() -> None:
    CandidateParameters(levels=255)
    with pytest.raises(ValueError, match=r"levels is 255: with widest 255 .* 32,671 masks, .* at most 1,000"):
        CandidateParameters(levels=255, widest=255)
    with pytest.raises(ValueError, match="largest is 157: give at most 156 of each of these 64 masks"):
        CandidateParameters(largest=157)
