"""The bit-packed closing against SciPy's dilation and erosion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lexor.bench import textbook
from lexor.prompting import closing
from lexor.prompting.backends.cpu import CpuBackend


def close_with_ball(mask: np.ndarray, radius: int, slab_voxels: int = 1 << 18) -> np.ndarray:
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    backend = CpuBackend()
    backend.slab_voxels = slab_voxels
    closed: np.ndarray = closing.close_with_ball(mask.__getitem__, shape, radius, backend)
    return closed


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 140)),
    radius=st.integers(0, 4),
    density=st.sampled_from([0.002, 0.02, 0.1, 0.5, 0.95]),
    slab_voxels=st.sampled_from([1, 50, 1000, 1 << 18]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_dilation_then_erosion(
    shape: tuple[int, int, int], radius: int, density: float, slab_voxels: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < density
    closed = close_with_ball(mask, radius, slab_voxels)
    assert closed.dtype == bool
    np.testing.assert_array_equal(closed, textbook.close(mask, radius))


def test_a_ball_wider_than_the_volume() -> None:
    radius, shape = 12, (24, 20, 150)
    mask = np.random.default_rng(0).random(shape) < 0.3
    # Brute force is slow for such a ball. Squared distances are whole numbers, so rounding makes them exact.
    padded = np.pad(mask, 2 * radius)
    dilated = np.rint(ndimage.distance_transform_edt(~padded) ** 2) <= radius**2
    closed = np.rint(ndimage.distance_transform_edt(dilated) ** 2) > radius**2
    expected = closed[tuple(slice(2 * radius, 2 * radius + n) for n in shape)]
    assert expected.sum() > mask.sum()
    np.testing.assert_array_equal(close_with_ball(mask, radius), expected)


@pytest.mark.parametrize("shape", [(9, 9, 9), (1, 9, 9), (9, 1, 130), (1, 1, 1)])
def test_keeps_every_voxel_at_the_border(shape: tuple[int, int, int]) -> None:
    full = np.ones(shape, dtype=bool)
    np.testing.assert_array_equal(close_with_ball(full, 3), full)
    for corner in np.ndindex(2, 2, 2):
        lone = np.zeros(shape, dtype=bool)
        lone[tuple(-side for side in corner)] = True
        np.testing.assert_array_equal(close_with_ball(lone, 3), lone)


def test_fills_a_gap_across_a_word_boundary() -> None:
    mask = np.ones((15, 15, 128), dtype=bool)
    mask[7, 7, 62:66] = False
    assert close_with_ball(mask, 3).all()


def test_keeps_a_hole_that_holds_the_ball() -> None:
    mask = np.ones((15, 15, 15), dtype=bool)
    z, y, x = np.ogrid[:15, :15, :15]
    mask[(z - 7) ** 2 + (y - 7) ** 2 + (x - 7) ** 2 <= 9] = False
    np.testing.assert_array_equal(close_with_ball(mask, 3), mask)


def test_closes_nothing_in_one_slice() -> None:
    mask = np.random.default_rng(1).random((1, 40, 40)) < 0.5
    np.testing.assert_array_equal(close_with_ball(mask, 3), mask)


def test_leaves_its_input_alone() -> None:
    mask = np.random.default_rng(2).random((8, 8, 8)) < 0.2
    before = mask.copy()
    for radius in (0, 3):
        close_with_ball(mask, radius)[:] = True
        np.testing.assert_array_equal(mask, before)
