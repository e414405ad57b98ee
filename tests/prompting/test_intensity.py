"""Algorithm 1 against a textbook implementation, its symmetries, and its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lexor.bench import textbook as reference
from lexor.geometry import Box
from lexor.prompting import IntensityParameters, auto_prompt
from lexor.prompting.backends.cpu import CpuBackend
from lexor.prompting.intensity import _band, _statistics

Shape = tuple[int, int, int]


@dataclass
class Textbook:
    """What SciPy's own routines make of a volume."""

    boxes: list[Box]
    sizes: list[int]
    gap: float
    """Least distance of a voxel from a threshold, in standard deviations."""


def textbook(volume: np.ndarray, top: int = 1) -> Textbook:
    """The reference, and how far from a threshold its voxels keep."""
    answer = reference.find_boxes(volume, top)
    smoothed = reference.smooth(volume).astype(np.float64)
    distances = [np.abs(smoothed - threshold).min() for threshold in reference.thresholds(smoothed)]
    deviation = float(smoothed.std())
    return Textbook(answer.boxes, answer.sizes, float(min(distances) / deviation) if deviation else 0.0)


def blobs(shape: Shape, seed: int, count: int, noise: float) -> np.ndarray:
    """Balls of several brightnesses, many of them cut by the border, in noise."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    volume = np.full(shape, 40.0)
    for _ in range(count):
        centre = [rng.uniform(-1, n) for n in shape]
        distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        volume[distance <= rng.uniform(1, 7) ** 2] = rng.uniform(0, 255)
    return np.clip(volume + rng.normal(0, noise, shape), 0, 255).astype(np.uint8)


shapes = st.tuples(st.integers(1, 26), st.integers(1, 30), st.integers(1, 34))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=80, deadline=None)
@given(shape=shapes, seed=seeds, count=st.integers(0, 8), noise=st.sampled_from([0.0, 5.0, 60.0]))
def test_equals_the_textbook(shape: Shape, seed: int, count: int, noise: float) -> None:
    volume = blobs(shape, seed, count, noise)
    expected = textbook(volume, top=4)
    assume(expected.gap > 1e-12 or not expected.sizes)
    assert auto_prompt(volume) == expected.boxes[:1]
    assert auto_prompt(volume, top=4) == expected.boxes


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    start=st.tuples(*[st.integers(18, 24)] * 3),
    move=st.tuples(*[st.integers(-10, 10)] * 3),
)
def test_a_shifted_content_shifts_the_box(seed: int, start: Shape, move: Shape) -> None:
    content = blobs((9, 10, 11), seed, 3, 30.0)

    def boxed(offset: tuple[int, ...]) -> Box:
        volume = np.full((54, 55, 56), 20, dtype=np.uint8)
        volume[tuple(slice(o, o + n) for o, n in zip(offset, content.shape, strict=True))] = content
        return auto_prompt(volume)[0]

    before = boxed(start)
    after = boxed(tuple(s + m for s, m in zip(start, move, strict=True)))
    # The box must not have met the border, where it is clipped.
    assume(all(0 < box.lower[a] < box.upper[a] < 54 for box in (before, after) for a in range(3)))
    assert after.lower == tuple(b + m for b, m in zip(before.lower, move, strict=True))
    assert after.upper == tuple(b + m for b, m in zip(before.upper, move, strict=True))
    assert after.z_mid == before.z_mid + move[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    scale=st.floats(0.01, 1000),
    offset=st.floats(-1000, 1000),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_scaled_and_offset_intensities_leave_the_box(
    seed: int, scale: float, offset: float, dtype: type
) -> None:
    volume = blobs((12, 20, 24), seed, 5, 20.0)
    expected = textbook(volume)
    # Rounding the new intensities may move a voxel that lies on a threshold.
    spread = scale * float(volume.std()) / (abs(offset) + 255 * scale)
    assume(expected.gap * spread > 1e-6)
    assert auto_prompt(dtype(scale) * volume.astype(dtype) + dtype(offset)) == expected.boxes


@settings(max_examples=30, deadline=None)
@given(seed=seeds, axis=st.integers(0, 2))
def test_a_flipped_volume_flips_the_box(seed: int, axis: int) -> None:
    volume = blobs((14, 22, 26), seed, 5, 20.0)
    expected = textbook(volume)
    assume(expected.gap > 1e-12 and expected.sizes[1:2] != expected.sizes[:1])
    (box,), (flipped,) = auto_prompt(volume), auto_prompt(np.flip(volume, axis))
    length = volume.shape[axis]
    lower, upper = list(box.lower), list(box.upper)
    lower[axis], upper[axis] = length - box.upper[axis], length - box.lower[axis]
    assert flipped.lower == tuple(lower)
    assert flipped.upper == tuple(upper)
    if axis != 0:  # along z, two slices with the same area may change places
        assert flipped.z_mid == box.z_mid


def two_plates() -> np.ndarray:
    """Two plates of the same size and of medium brightness, and a very bright one."""
    volume = np.zeros((40, 60, 60), dtype=np.uint8)
    volume[8:11, 5:25, 5:25] = 100
    volume[29:32, 35:55, 35:55] = 100
    return volume


def test_the_first_in_raster_order_wins_a_tie() -> None:
    first, second = auto_prompt(two_plates(), top=2)
    assert first.upper[0] < second.lower[0]
    assert auto_prompt(two_plates()) == [first]
    shape = two_plates().shape
    mirrored = [shape[a] - second.upper[a] for a in range(3)]
    assert first.lower == tuple(mirrored)


def test_best_is_largest_and_no_more_come_than_there_are() -> None:
    volume = two_plates()
    volume[29:32, 35:56, 35:56] = 100
    boxes = auto_prompt(volume, top=9)
    assert len(boxes) == 2
    assert boxes[0].lower[0] > boxes[1].lower[0]


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", ">u2", "i8", "f2", "f4", ">f8", "g"])
def test_takes_any_real_dtype_in_any_layout(dtype: str) -> None:
    volume = blobs((10, 16, 18), 4, 4, 30.0) > 60
    expected = auto_prompt(volume.astype(np.uint8))
    assert auto_prompt(volume.astype(dtype)) == expected
    assert auto_prompt(np.asfortranarray(volume.astype(dtype))) == expected
    assert expected == textbook(volume.astype(np.uint8)).boxes


def test_the_volume_is_not_changed() -> None:
    volume = blobs((10, 16, 18), 5, 4, 30.0).astype(np.float32)
    before = volume.copy()
    volume.setflags(write=False)
    auto_prompt(volume)
    np.testing.assert_array_equal(volume, before)


@pytest.mark.parametrize("value", [0, 1, 77, 255])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 30), (7, 11, 13), (31, 8, 5)])
def test_a_constant_volume_gives_the_whole(shape: Shape, value: int) -> None:
    expected = [Box.whole(shape)]
    assert auto_prompt(np.full(shape, value, dtype=np.uint8)) == expected
    assert auto_prompt(np.full(shape, value / 3, dtype=np.float64), top=3) == expected


def test_an_empty_band_gives_the_whole() -> None:
    volume = blobs((10, 16, 18), 6, 4, 30.0)
    nothing = IntensityParameters(low=50, high=60)
    assert auto_prompt(volume, parameters=nothing, top=2) == [Box.whole(volume.shape)]


def test_one_slice() -> None:
    volume = np.zeros((1, 80, 90), dtype=np.uint8)
    volume[0, 20:40, 30:70] = 100
    (box,) = auto_prompt(volume)
    assert [box] == textbook(volume).boxes
    assert (box.lower[0], box.upper[0], box.z_mid) == (0, 1, 0)
    assert box.shape[1] < 40
    assert box.shape[2] < 60


def test_the_middle_is_the_slice_with_the_largest_area() -> None:
    # Two cones, base to base on slice 25.
    z, y, x = np.ogrid[:40, :64, :64]
    volume = ((y - 30) ** 2 + (x - 30) ** 2 <= np.maximum(14 - abs(z - 25), 0) ** 2).astype(np.uint8)
    assert auto_prompt(volume, parameters=IntensityParameters(high=50))[0].z_mid == 25


def test_the_first_of_equal_slices_is_the_middle() -> None:
    volume = np.zeros((20, 30, 30), dtype=np.uint8)
    volume[:, 10:20, 10:20] = 1
    assert auto_prompt(volume, parameters=IntensityParameters(closing_radius=0))[0].z_mid == 0


def test_parameters_are_used() -> None:
    volume = blobs((20, 40, 44), 7, 6, 30.0)
    base = auto_prompt(volume)[0]
    wider = auto_prompt(volume, parameters=IntensityParameters(margin=7))[0]
    assert wider.lower == tuple(max(low - 2, 0) if low else 0 for low in base.lower)
    for changed in (
        IntensityParameters(sigma=1),
        IntensityParameters(low=1.2),
        IntensityParameters(high=0.8),
        IntensityParameters(closing_radius=0),
        IntensityParameters(truncate=0.5),
    ):
        assert auto_prompt(volume, top=99, parameters=changed) != auto_prompt(volume, top=99), changed


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4, 5), (), (0, 4, 4), (4, 4, 0)])
def test_refuses_what_is_not_a_volume(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        auto_prompt(np.zeros(shape, dtype=np.uint8))


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3", "M8[s]"])
def test_refuses_what_is_not_a_number(dtype: object) -> None:
    with pytest.raises(ValueError, match="dtype"):
        auto_prompt(np.empty((2, 2, 2), dtype=dtype))  # type: ignore[call-overload]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("place", [(0, 0, 0), (5, 6, 7)])
def test_refuses_voxels_that_are_not_finite(bad: float, place: Shape) -> None:
    volume = blobs((8, 12, 14), 8, 3, 20.0).astype(np.float64)
    volume[place] = bad
    with pytest.raises(ValueError, match="NaN, infinite or beyond float32"):
        auto_prompt(volume)


def test_refuses_no_boxes_and_unknown_devices() -> None:
    volume = blobs((8, 12, 14), 9, 3, 20.0)
    with pytest.raises(ValueError, match="top is 0"):
        auto_prompt(volume, top=0)
    with pytest.raises(ValueError, match="'tpu'"):
        auto_prompt(volume, device="tpu")


def test_the_band_is_strict_and_compares_in_float64() -> None:
    values = np.array([[[0.1, 0.25, 0.5, 0.75, 0.9]]], dtype=np.float32)
    assert _band(values, 0.25, 0.75)(slice(0, 1)).tolist() == [[[False, False, True, False, False]]]
    # The float32 nearest to 0.1 lies above 0.1, the one nearest to 0.9 below 0.9.
    assert _band(values, 0.1, 0.9)(slice(0, 1)).tolist() == [[[True] * 5]]
    above, below = float(np.float32(0.1)), float(np.float32(0.9))
    assert _band(values, above, below)(slice(0, 1)).tolist() == [[[False, True, True, True, False]]]


def test_a_threshold_beyond_float32_is_still_a_threshold() -> None:
    volume = np.zeros((12, 20, 24), dtype=np.float32)
    volume[3:9, 6:14, 7:17] = 3e38
    faint = auto_prompt((volume / 3e38).astype(np.float32))
    assert auto_prompt(volume) == faint
    assert _band(volume, -1e39, 1e39)(slice(0, 12)).all()
    assert not _band(volume, 1e39, 2e39)(slice(0, 12)).any()


def test_statistics_are_float64() -> None:
    # float32 sums of these go wrong in the fourth digit.
    values = np.random.default_rng(3).normal(1e4, 1.0, (30, 200, 300)).astype(np.float32)
    mean, deviation = _statistics(values, CpuBackend())
    assert mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-14)
    assert deviation == pytest.approx(values.std(dtype=np.float64), rel=1e-11)
