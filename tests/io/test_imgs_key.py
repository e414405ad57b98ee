"""Volumes of every dtype as uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_files import SHAPE, VOLUME, only_warning, read
from lexor.errors import CaseError, Notes
from lexor.io.intensity import to_uint8


@pytest.mark.parametrize("dtype", ["u2", ">i2", "i8", "f4", "f8", "f2"])
def test_values_on_the_challenges_scale_are_rounded(tmp_path: Path, dtype: str):
    case = read(tmp_path, imgs=VOLUME.astype(dtype))
    assert case.volume.dtype == np.uint8
    assert np.array_equal(case.volume, VOLUME)
    assert "of whole numbers within 0..255; they are kept" in only_warning(case)


def test_nearly_whole_numbers_are_rounded(tmp_path: Path):
    volume = VOLUME / np.float32(255) * np.float32(255) + np.float32(1e-4)
    assert np.array_equal(read(tmp_path, imgs=volume).volume, VOLUME)


@pytest.mark.parametrize("highest", [0.03, 1.0, 1.03, 1.4, 12.5, 254.9, 3000.0])
def test_fractions_keep_their_greys_whatever_their_maximum(tmp_path: Path, highest: float):
    rng = np.random.default_rng(3)
    volume = rng.random((10, 20, 30))
    case = read(tmp_path, imgs=(volume / volume.max() * highest).astype(np.float32))
    assert len(np.unique(case.volume)) == 256
    low, high = np.percentile(volume, (0.5, 99.5))
    expected = np.clip((volume - low) / (high - low) * 255, 0, 255)
    assert np.abs(case.volume - expected).max() < 0.51
    assert "percentiles 0.5 and 99.5" in only_warning(case)


def test_a_few_hot_voxels_do_not_take_the_range(tmp_path: Path):
    volume = np.random.default_rng(3).random((10, 20, 30)) * 3
    cool = read(tmp_path, imgs=volume).volume.astype(int)
    volume[0, 0, :3] = 200
    hot = read(tmp_path, imgs=volume).volume.astype(int)
    assert hot[0, 0, :3].tolist() == [255, 255, 255]
    assert np.abs(hot - cool)[1:].max() <= 1


@pytest.mark.parametrize("empty", [0.0, -0.5])
@pytest.mark.parametrize("share", [0.7, 0.99, 0.999])
def test_a_sparse_volume_keeps_the_greys_of_what_is_in_it(tmp_path: Path, share: float, empty: float):
    """A PET with one hot voxel, of which 70 to 99.9 % are empty."""
    rng = np.random.default_rng(4)
    volume = np.full(60_000, empty)
    count = round((1 - share) * volume.size)
    volume[:count] = rng.uniform(1, 9, count)
    case = read(tmp_path, imgs=rng.permutation(volume).reshape(20, 50, 60))
    assert np.count_nonzero(case.volume) == count
    assert len(np.unique(case.volume)) > min(count, 256) * 0.6
    assert np.count_nonzero(case.volume == 255) <= max(0.02 * count, 1)


def test_few_grey_levels_are_told(tmp_path: Path):
    three = np.arange(6000).reshape(SHAPE) % 3
    assert "0..255, 3 grey levels; they are kept" in only_warning(read(tmp_path, imgs=three.astype(float)))
    assert "become 0..255, 3 grey levels, give" in only_warning(read(tmp_path, imgs=three / 7))
    assert "become 0..255, 1 grey level, give" in only_warning(read(tmp_path, imgs=three * 0.0))


@pytest.mark.parametrize("dtype", ["i2", "f4", "f8", "i8"])
def test_other_values_are_rescaled_between_their_percentiles(tmp_path: Path, dtype: str):
    volume = np.arange(-1000, 2000).reshape(10, 15, 20).astype(dtype)
    case = read(tmp_path, imgs=volume)
    low, high = np.percentile(volume, (0.5, 99.5))
    expected = np.rint((np.clip(volume, low, high) - low) / (high - low) * 255)
    assert np.array_equal(case.volume, expected)
    assert (case.volume.min(), case.volume.max()) == (0, 255)
    warning = only_warning(case)
    assert f"imgs is {np.dtype(dtype)} in -1000..1999" in warning
    assert "percentiles 0.5 and 99.5" in warning


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.full(3, 700.0), [0, 0, 0]),
        (np.zeros(3), [0, 0, 0]),
        (np.array([-1e308, 0, 1e308]), [0, 128, 255]),
        (np.array([-3e38, 0, 3e38], np.float32), [0, 128, 255]),
        (np.array([0, 5e-324, 5e-324]), [0, 0, 0]),
        (np.array([-(2**63), 0, 2**63 - 1]), [0, 128, 255]),
    ],
)
def test_extreme_values(tmp_path: Path, volume: np.ndarray, expected: list[int]):
    case = read(tmp_path, imgs=volume[None, None])
    assert case.volume.tolist() == [[expected]]
    only_warning(case)


def test_rare_values_of_a_nearly_constant_volume_remain(tmp_path: Path):
    volume = np.zeros((10, 20, 30), np.int16)
    volume[5, 5, 5:8] = 500
    case = read(tmp_path, imgs=volume)
    assert np.array_equal(case.volume, np.where(volume, 255, 0))
    assert "2 grey levels" in only_warning(case)


def test_voxels_that_are_not_finite_become_the_smallest(tmp_path: Path):
    case = read(tmp_path, imgs=np.array([[[np.nan, np.inf, -np.inf, 7.0, 250.0]]]))
    assert case.volume.tolist() == [[[7, 7, 7, 7, 250]]]
    assert "imgs has 3 voxels that are NaN or infinite; they become 7" in case.warnings[0]
    assert len(case.warnings) == 2


def test_fortran_order_is_no_matter(tmp_path: Path):
    case = read(tmp_path, imgs=np.asfortranarray(VOLUME))
    assert case.volume.flags.c_contiguous
    assert np.array_equal(case.volume, VOLUME)


def test_more_voxels_than_memory_is_meant_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lexor.io.case.MAX_VOXELS", 1000)
    with pytest.raises(
        CaseError, match=r"imgs has shape \(10, 10, 11\), 1,100 voxels; give at most 1,000: crop"
    ):
        read(tmp_path, imgs=np.zeros((10, 10, 11), np.uint8))


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (VOLUME[0], r"shape \(20, 30\); add an axis"),
        (VOLUME[None], r"imgs\[0\]"),
        (VOLUME[..., None], r"imgs\[\.\.\., 0\]"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\); give a volume"),
        (np.uint8(3), r"shape \(\)"),
        (np.zeros((3, 0, 4), np.uint8), "no voxel"),
        (VOLUME.astype(np.complex64), "complex64"),
        (VOLUME.astype("U3"), "<U3"),
        (VOLUME.astype(object), "dtype object"),
        (np.full(SHAPE, np.nan), "no finite voxel"),
        (VOLUME.astype("M8[s]"), "datetime64"),
    ],
)
def test_unusable_volumes(tmp_path: Path, volume: np.ndarray, reason: str):
    with pytest.raises(CaseError, match=rf"^CT_case\.npz: imgs .*{reason}.*") as caught:
        read(tmp_path, imgs=volume)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


@given(st.sampled_from(["i1", "i2", "u2"]), st.integers(0, 2**32 - 1), st.sampled_from([1, 5, 300, 9000]))
def test_numbers_of_two_bytes_are_converted_as_any_others(dtype: str, seed: int, spread: int):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    volume = rng.normal(rng.integers(-50, 100), spread, (3, 4, 5)).clip(limits.min, limits.max).astype(dtype)
    volume[rng.random(volume.shape) < rng.choice([0, 0.6])] = rng.integers(0, 3)
    notes, others = Notes(), Notes()
    found = to_uint8(volume, notes)
    # Those of four bytes are not counted, but sorted.
    np.testing.assert_array_equal(found, to_uint8(volume.astype("i4"), others))
    lines = [line.replace("int32", volume.dtype.name) for line in others.lines("a")]
    assert list(notes.lines("a")) == lines
