import cc3d
import numpy as np
import pytest

from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.tubes import column, drift, sweep, walk


@pytest.mark.parametrize("radius", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_swept_tube_is_whole_and_as_thick_as_asked(radius: float, scale: float) -> None:
    grid = Grid((40, 40, 40), (scale, 1.0, 1.0))
    path = np.array([[2.0, 20, 20], [36 * scale, 22, 24]])
    mask = sweep(grid, path, radius).full(grid).numpy()
    assert cc3d.connected_components(mask).max() == 1
    areas = mask.sum((1, 2))[4:-5]
    assert (areas > 0).all()
    assert areas.mean() == pytest.approx(max(np.pi * radius**2, 1), rel=0.45)


def test_a_sweep_clipped_by_the_grid_equals_the_part_inside() -> None:
    path = np.array([[-20.0, 5, 5], [30, 9, 9]])
    small = sweep(Grid((10, 16, 16)), path, 3.0).full(Grid((10, 16, 16)))
    large = sweep(Grid((30, 16, 16)), path, 3.0).full(Grid((30, 16, 16)))
    assert small.sum() > 100
    assert float((small != large[:10]).float().mean()) < 0.01


def test_a_column_follows_its_path_on_every_slice() -> None:
    grid = Grid((30, 60, 60), (2.0, 1.0, 1.0))
    rng = np.random.default_rng(5)
    path = drift(grid, np.array([30.0, 30.0]), rng, 0.2)
    mask = column(grid, grid.extent / 2, np.array([1.0, 2.5, 2.5]), rng, path, 1.0).full(grid).numpy()
    slices = np.flatnonzero(mask.any((1, 2)))
    assert len(slices) >= 3
    assert (np.diff(slices) == 1).all()
    for z in slices:
        np.testing.assert_allclose(np.argwhere(mask[z]).mean(0), path[z], atol=0.75)


def test_a_walk_has_its_length() -> None:
    path = walk(np.zeros(3), np.array([1.0, 0, 0]), 48.0, np.random.default_rng(0))
    assert path.shape == (25, 3)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), 2.0)
