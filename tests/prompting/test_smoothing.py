"""Smoothing by matrix products against SciPy's filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lexor.prompting.backends.cpu import CpuBackend
from lexor.prompting.smoothing import PRODUCT, GaussianKernel, mirrored


def scipys(volume: np.ndarray, sigma: float, truncate: float) -> np.ndarray:
    answer: np.ndarray = ndimage.gaussian_filter(volume, sigma, truncate=truncate, output=np.float32)
    return answer


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 70)),
    sigma=st.floats(0.2, 6),
    truncate=st.floats(0.3, 5),
    dtype=st.sampled_from(["?", "u1", "i2", "f4", "f8"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_scipy_to_the_last_bit_but_for_ties(
    shape: tuple[int, int, int], sigma: float, truncate: float, dtype: str, seed: int
) -> None:
    volume = (np.random.default_rng(seed).random(shape) * 250).astype(dtype)
    smoothed = CpuBackend().smooth(volume, sigma, truncate)
    expected = scipys(volume, sigma, truncate)
    assert smoothed.dtype == np.float32
    np.testing.assert_array_max_ulp(smoothed, expected, 1)
    assert np.count_nonzero(smoothed != expected) <= 1


@pytest.mark.parametrize("shape", [(3, 4, 2000), (2, 700, 3), (70, 2, 3), (40, 300, 9), (5, 129, 65)])
def test_long_axes_are_cut_into_tiles_blocks_and_slabs(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CpuBackend, "slab_voxels", 100)
    volume = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(CpuBackend().smooth(volume, 2.0, 4.0), scipys(volume, 2.0, 4.0))


def test_a_view_is_smoothed_as_its_copy() -> None:
    volume = np.random.default_rng(1).integers(0, 256, (20, 30, 40), dtype=np.uint8)
    view = volume.transpose(2, 0, 1)[::-1, :, ::2]
    expected = scipys(np.ascontiguousarray(view), 2.0, 4.0)
    np.testing.assert_array_equal(CpuBackend().smooth(view, 2.0, 4.0), expected)


def test_a_constant_stays_what_it_was() -> None:
    for value in (0.1, 77, 1e-30, 3e38):
        volume = np.full((9, 20, 33), value, dtype=np.float32)
        np.testing.assert_array_equal(CpuBackend().smooth(volume, 2.0, 4.0), volume)


def test_the_kernel_is_the_sampled_gaussian() -> None:
    kernel = GaussianKernel(2.0, 4.0)
    assert kernel.radius == 8
    weights = kernel.matrix[:17, 0]
    assert weights.sum() == pytest.approx(1)
    assert weights[8] / weights[10] == pytest.approx(np.exp(0.5))
    np.testing.assert_array_equal(kernel.matrix[5:22, 5], weights)
    assert np.count_nonzero(kernel.matrix) == 16 * 17
    assert kernel.matrix.size * kernel.columns <= PRODUCT


def test_lines_are_mirrored_as_often_as_needed() -> None:
    before, after = mirrored(3, 8)
    np.testing.assert_array_equal(before, [1, 0, 0, 1, 2, 2, 1, 0])
    np.testing.assert_array_equal(after, [2, 1, 0, 0, 1, 2, 2, 1])
    line = np.array([5, 6, 7])
    padded = np.pad(line, 8, mode="symmetric")
    np.testing.assert_array_equal(line[before], padded[:8])
    np.testing.assert_array_equal(line[after], padded[11:])
