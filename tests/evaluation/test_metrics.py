import sys

import numpy as np
import pytest

from lexor.evaluation.metrics import dice, nsd

# Square millimetres of one surface element of a cube of 1 mm voxels, on a face, an edge and a corner.
FACE, EDGE, CORNER = 1.0, 2 * np.sqrt(2) / 4, np.sqrt(3) / 8


def cube(start: tuple[int, int, int], shape: tuple[int, int, int] = (24, 14, 14)) -> np.ndarray:
    """A cube of ten voxels a side."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, a + 10) for a in start)] = True
    return mask


def blocks(seed: int, count: int, shape: tuple[int, int, int] = (20, 24, 28)) -> np.ndarray:
    """A union of random blocks, some at the volume's edge."""
    rng, mask = np.random.default_rng(seed), np.zeros(shape, bool)
    for _ in range(count):
        lower = [int(rng.integers(0, n - 6)) for n in shape]
        size = [int(rng.integers(3, 12)) for _ in shape]
        mask[tuple(slice(a, a + b) for a, b in zip(lower, size, strict=True))] = True
    return mask


def test_dice() -> None:
    a, b = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    assert dice(a, b) == 1
    a[0, 0, :2] = True
    assert dice(a, b) == 0
    b[0, 0, 1:4] = True
    assert dice(a, b) == pytest.approx(2 / 5)


def test_nsd_of_equal_and_of_empty_masks() -> None:
    empty, full = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    assert nsd(full, full, (5, 1, 1)) == 1
    assert nsd(cube((1, 2, 3)), cube((1, 2, 3)), (1, 1, 1), tolerance=0) == 1
    assert nsd(empty, full, (1, 1, 1)) == 0
    assert nsd(full, empty, (1, 1, 1)) == 0
    assert nsd(empty, empty, (1, 1, 1)) == 1


def test_nsd_of_a_shift_within_the_tolerance_is_one() -> None:
    assert nsd(cube((2, 2, 2)), cube((4, 2, 2)), (1, 1, 1)) == 1
    assert nsd(cube((2, 2, 2)), cube((4, 2, 2)), (1.01, 1, 1)) < 1


def test_nsd_of_cubes_three_slices_apart() -> None:
    """Counted by hand, for either cube: far are its whole outer face, and of the face inside the other cube
    the 5x5 elements that are three from every side; of the sides, one or two slices are at most 2 mm off."""
    total = 6 * 81 * FACE + 12 * 9 * EDGE + 8 * CORNER
    far = 81 * FACE + 4 * 9 * EDGE + 4 * CORNER + 25 * FACE
    expected = 1 - far / total
    assert nsd(cube((2, 2, 2)), cube((5, 2, 2)), (1, 1, 1)) == pytest.approx(expected, abs=1e-12)
    assert nsd(cube((5, 2, 2)), cube((2, 2, 2)), (1, 1, 1)) == pytest.approx(expected, abs=1e-12)
    # Millimetres are what counts: the same in voxels half as large, and all of it near at 3 mm.
    assert nsd(cube((2, 2, 2)), cube((5, 2, 2)), (0.5, 0.5, 0.5), 1.0) == pytest.approx(expected, abs=1e-12)
    assert nsd(cube((2, 2, 2)), cube((5, 2, 2)), (1, 1, 1), 3.0) == 1


def test_spacing_goes_with_the_arrays_axes() -> None:
    assert nsd(cube((2, 2, 2)), cube((3, 2, 2)), (3, 1, 1)) < 0.9
    assert nsd(cube((2, 2, 2)), cube((2, 3, 2)), (3, 1, 1)) == 1
    assert nsd(cube((2, 2, 2)), cube((2, 2, 3)), (1, 1, 3)) < 0.9


def test_nsd_is_zero_up_to_a_dsc_of_a_fifth() -> None:
    assert dice(cube((2, 2, 2)), cube((10, 2, 2))) == 0.2
    assert nsd(cube((2, 2, 2)), cube((10, 2, 2)), (1, 1, 1), tolerance=20) == 0
    assert nsd(cube((2, 2, 2)), cube((9, 2, 2)), (1, 1, 1), tolerance=20) == 1


@pytest.mark.parametrize(
    ("seed", "spacing", "tolerance", "expected"),
    [
        (0, (1, 1, 1), 2.0, 0.9190598124308702),
        (1, (5, 0.8, 0.8), 2.0, 0.8244471943905822),
        (2, (2.5, 3.9, 3.9), 2.0, 0.1945971746903108),
        (3, (0.4, 0.4, 0.4), 2.0, 1.0),
        (4, (1.5, 1.5, 3), 1.0, 0.24826479606342808),
        (5, (3, 1, 2), 4.0, 0.9700878445694776),
    ],
)
def test_nsd_is_that_of_the_organisers(
    seed: int, spacing: tuple[float, float, float], tolerance: float, expected: float
) -> None:
    """Expected: compute_surface_dice_at_tolerance(compute_surface_distances(truth, prediction, spacing),
    tolerance) of SurfaceDice.py in github.com/JunMa11/CVPR-MedSegFMCompetition, commit 748e862, on these masks
    (with numpy.Inf defined, which numpy 2 lacks)."""
    truth = blocks(seed, 6)
    prediction = np.roll(truth, (1, -1, 2), (0, 1, 2)) & ~blocks(seed + 100, 2)
    assert nsd(prediction, truth, spacing, tolerance) == pytest.approx(expected, abs=1e-12)


def test_nsd_does_not_depend_on_the_volume_around() -> None:
    truth = blocks(1, 6)
    prediction = np.roll(truth, 1, 0)
    alone = nsd(prediction, truth, (2, 1, 1), 1.0)
    assert 0 < alone < 1
    assert nsd(np.pad(prediction, 9), np.pad(truth, 9), (2, 1, 1), 1.0) == pytest.approx(alone, abs=1e-12)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "surface_distance", None)
    with pytest.raises(ImportError, match=r"lexor\[evaluate\]"):
        nsd(cube((2, 2, 2)), cube((2, 2, 2)), (1.25, 1.5, 1.75))
