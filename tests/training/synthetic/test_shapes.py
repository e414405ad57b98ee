import cc3d
import numpy as np
import pytest
import torch
from scipy import ndimage

from lexor.training.synthetic.families import FAMILIES, Family
from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.shapes import Patch, ellipsoid, rotation, shell, split, union


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_every_family_fills_voxels_near_its_centre(family: Family, scale: float) -> None:
    grid = Grid((24, 48, 48), (scale, 1.0, 1.0))
    centre = grid.extent / 2
    for seed in range(6):
        patch = family(grid, centre, np.array([7.0, 9.0, 8.0]), np.random.default_rng(seed))
        full = patch.full(grid)
        assert full.shape == grid.shape
        assert patch.mask.shape == full[patch.where].shape
        assert 8 <= patch.count() == int(full.sum()) <= 0.6 * full.numel()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_family_is_cut_off_at_the_border_and_empty_beyond(family: Family) -> None:
    grid = Grid((12, 24, 24))
    for place in ([0.0, 0.0, 0.0], [6.0, 23.0, 2.0], [-90.0, -90.0, -90.0]):
        patch = family(grid, np.array(place), np.array([5.0, 5.0, 5.0]), np.random.default_rng(1))
        assert patch.full(grid).shape == grid.shape
    assert ellipsoid(grid, np.full(3, -90.0), np.full(3, 5.0), np.random.default_rng(0)).count() == 0


def test_an_ellipsoid_has_its_volume_in_physical_units() -> None:
    for scale in (1.0, 4.0):
        grid = Grid((60, 64, 64), (scale, 1.0, 1.0))
        radii = np.array([12.0, 16.0, 10.0])
        patch = ellipsoid(grid, grid.extent / 2, radii, np.random.default_rng(0), warp=0.0, turn=0.0)
        assert patch.count() * scale == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.04)
        depth = patch.where[0].stop - patch.where[0].start
        assert depth == pytest.approx(2 * 12 / scale, abs=4)


def test_a_shell_is_hollow() -> None:
    grid = Grid((40, 40, 40))
    closed = 0
    for seed in range(12):
        mask = shell(grid, grid.extent / 2, np.full(3, 14.0), np.random.default_rng(seed)).full(grid).numpy()
        filled = ndimage.binary_fill_holes(mask)
        closed += int(filled.sum() > 1.3 * mask.sum())
        assert mask.sum() < 0.75 * 4 / 3 * np.pi * 14**3
    assert closed >= 3


def test_the_parts_of_a_split_touch_and_make_up_the_whole() -> None:
    grid = Grid((30, 30, 30))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        whole = ellipsoid(grid, grid.extent / 2, np.array([10.0, 9.0, 8.0]), rng)
        one, two = (part.full(grid) for part in split(grid, whole, rng))
        assert not bool((one & two).any())
        assert torch.equal(one | two, whole.full(grid))
        share = float(one.sum() / whole.count())
        assert 0.2 < share < 0.8
        assert (ndimage.binary_dilation(one.numpy()) & two.numpy()).sum() > 20


def test_union_of_patches() -> None:
    grid = Grid((4, 6, 6))
    a = Patch((slice(0, 2), slice(0, 3), slice(0, 3)), torch.ones(2, 3, 3, dtype=torch.bool))
    b = Patch((slice(1, 3), slice(2, 4), slice(2, 4)), torch.ones(2, 2, 2, dtype=torch.bool))
    assert union(grid, [a, b]).count() == 18 + 8 - 1
    assert union(grid, []).count() == 0


@pytest.mark.parametrize("turn", [None, 0.0, 0.2])
def test_rotations_are_rotations(turn: float | None) -> None:
    matrix = rotation(np.random.default_rng(3), turn)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    if turn is not None:
        np.testing.assert_allclose(matrix, np.eye(3), atol=3 * turn + 1e-12)


def test_clusters_have_many_parts() -> None:
    cluster = next(family for family in FAMILIES if family.__name__ == "cluster")
    grid = Grid((40, 60, 60))
    parts = [
        int(
            cc3d.connected_components(
                cluster(grid, grid.extent / 2, np.full(3, 15.0), rng).full(grid).numpy()
            ).max()
        )
        for rng in (np.random.default_rng(i) for i in range(5))
    ]
    assert np.median(parts) >= 4
