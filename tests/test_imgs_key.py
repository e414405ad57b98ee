"""Volumes of every dtype as uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from case_files import SHAPE, VOLUME, only_warning, read
from lexor.case import CaseError


@pytest.mark.parametrize("dtype", ["u2", ">i2", "i8", "f4", "f8", "f2"])
def test_values_on_the_challenges_scale_are_rounded(tmp_path: Path, dtype: str):
    case = read(tmp_path, imgs=VOLUME.astype(dtype))
    assert case.volume.dtype == np.uint8
    assert np.array_equal(case.volume, VOLUME)
    assert "within 0..255; its values are rounded" in only_warning(case)


def test_fractions_are_rounded(tmp_path: Path):
    volume = np.array([[[0.4, 0.6, 254.7, 100.0]]])
    assert read(tmp_path, imgs=volume).volume.tolist() == [[[0, 1, 255, 100]]]


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
    assert "its minimum and maximum" in only_warning(case)


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
    monkeypatch.setattr("lexor.case.MAX_VOXELS", 1000)
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
