import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from lexor.inference.views import View, resample, resampling_matrix

edges = st.floats(-5, 25, allow_nan=False)


@given(edges, st.floats(0.2, 30), st.integers(1, 20), st.integers(1, 24))
def test_rows_are_weights(lower: float, length: float, size: int, samples: int) -> None:
    matrix = resampling_matrix(lower, lower + length, size, samples)
    assert matrix.shape == (samples, size)
    assert torch.all(matrix >= 0)
    torch.testing.assert_close(matrix.sum(1), torch.ones(samples))


@given(st.integers(1, 12))
def test_full_extent_at_full_resolution_is_the_identity(size: int) -> None:
    torch.testing.assert_close(resampling_matrix(0, size, size, size), torch.eye(size))


def test_shrinking_by_two_averages_pairs() -> None:
    matrix = resampling_matrix(0, 6, 6, 3)
    torch.testing.assert_close(matrix @ torch.arange(6.0), torch.tensor([0.5, 2.5, 4.5]))


def test_enlarging_interpolates_linearly_as_scipy_does() -> None:
    values = np.array([1.0, 5.0, 2.0, 8.0])
    centres = (np.arange(8) + 0.5) * 0.5 - 0.5
    expected = ndimage.map_coordinates(values, [centres], order=1, mode="nearest")
    matrix = resampling_matrix(0, 4, 4, 8)
    np.testing.assert_allclose(matrix.double().numpy() @ values, expected, atol=1e-6)


def test_what_lies_outside_repeats_the_edge() -> None:
    matrix = resampling_matrix(-3, 7, 4, 10)
    out = matrix @ torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert out[:3].tolist() == [1, 1, 1]
    assert out[-3:].tolist() == [4, 4, 4]


def test_an_empty_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        resampling_matrix(2, 2, 4, 4)


@given(
    st.tuples(*[st.integers(3, 9)] * 3),
    st.tuples(*[st.floats(-2, 3)] * 3),
    st.tuples(*[st.floats(1, 8)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
)
def test_resampling_equals_three_full_matrices(
    shape: tuple[int, int, int],
    lower: tuple[float, float, float],
    length: tuple[float, float, float],
    samples: tuple[int, int, int],
) -> None:
    upper = tuple(a + b for a, b in zip(lower, length, strict=True))
    volume = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (1, *shape), dtype=np.uint8))
    z, y, x = (resampling_matrix(lower[a], upper[a], shape[a], samples[a]) for a in range(3))
    expected = torch.einsum("az,by,cx,nzyx->nabc", z, y, x, volume.float())
    torch.testing.assert_close(resample(volume, lower, upper, samples), expected, atol=1e-3, rtol=1e-5)  # type: ignore[arg-type]


@given(st.tuples(*[st.floats(0, 4)] * 3), st.tuples(*[st.floats(1, 9)] * 3))
def test_points_and_edges_go_to_the_window(
    lower: tuple[float, float, float], size: tuple[float, float, float]
) -> None:
    upper = (lower[0] + size[0], lower[1] + size[1], lower[2] + size[2])
    view = View(lower, upper, (4, 6, 8))
    corners = view.edges_to_window(torch.tensor([lower, upper]))
    torch.testing.assert_close(corners, torch.tensor([[0.0, 0, 0], [4, 6, 8]]), atol=1e-4, rtol=0)
    # A voxel of index i has its centre at edge i + 1/2, in both frames.
    point = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(view.points_to_window(point) + 0.5, view.edges_to_window(point + 0.5))


def test_reading_then_writing_a_smooth_volume_returns_it() -> None:
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n) for n in (12, 20, 20)], indexing="ij")
    volume = torch.tensor(100 * (z + y * x), dtype=torch.float32)[None]
    view = View((2.0, 3.0, 4.0), (10.0, 17.0, 18.0), (16, 28, 28))
    where, values = view.write(view.read(volume), (12, 20, 20))
    assert where == (slice(2, 10), slice(3, 17), slice(4, 18))
    torch.testing.assert_close(values, volume[(slice(None), *where)], atol=2.0, rtol=0)


def test_the_footprint_holds_voxels_whose_centres_are_inside() -> None:
    view = View((0.6, 0.5, -3.0), (3.4, 3.5, 99.0), (2, 2, 2))
    assert view.footprint((10, 10, 10)) == (slice(1, 3), slice(0, 3), slice(0, 10))


@given(st.tuples(*[st.floats(0.4, 3)] * 3), st.tuples(*[st.integers(0, 3)] * 3), st.integers(1, 3))
def test_a_part_of_a_view_shows_the_same_voxels(
    step: tuple[float, float, float], low: tuple[int, int, int], size: int
) -> None:
    view = View((1.0, 2.0, 0.5), (1.0 + 6 * step[0], 2.0 + 6 * step[1], 0.5 + 6 * step[2]), (6, 6, 6))
    part = view.part(low, (low[0] + size, low[1] + size, low[2] + size))
    assert part.step == pytest.approx(view.step)
    volume = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 24, 24, 24))).float()
    inside = (slice(None), *(slice(start, start + size) for start in low))
    torch.testing.assert_close(part.read(volume), view.read(volume)[inside], atol=1e-4, rtol=1e-4)
