from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lexor.evaluation.cases import loosened_cases
from lexor.evaluation.strata import LEAVES_BOX, NONE, THIN, TINY, inscribed_radius, strata_of
from lexor.geometry import Box
from lexor.io.case import read_labels

WHOLE = Box((0, 0, 0), (40, 40, 40), 20)


def block(*size: int) -> np.ndarray:
    mask = np.zeros((40, 40, 40), bool)
    mask[tuple(slice(5, 5 + n) for n in size)] = True
    return mask


def test_the_inscribed_ball_is_measured_in_pixels() -> None:
    assert inscribed_radius(block(1, 1, 1)) == 0.5
    assert inscribed_radius(block(30, 3, 30)) == 1.5
    assert inscribed_radius(block(30, 5, 30)) == 2.5
    assert inscribed_radius(block(9, 9, 9)) == 4.5
    assert inscribed_radius(block(0, 0, 0)) == 0
    # Where the volume ends, the object does.
    assert inscribed_radius(np.ones((3, 20, 20), bool)) == 1.5


def test_slices_count_by_their_distance() -> None:
    plate = block(3, 20, 20)
    assert inscribed_radius(plate, (1, 1, 1)) == 1.5
    # Three slices of 4 pixels each: the middle one is 8 pixels from the slice beyond.
    assert inscribed_radius(plate, (2, 0.5, 0.5)) == 7.5
    # As SimpleITK writes it, (x, y, z), it is the same volume.
    assert inscribed_radius(plate, (0.5, 0.5, 2)) == 7.5
    assert inscribed_radius(plate, (2.5, 5, 5)) == pytest.approx(2 * 0.5 - 0.5)


def test_strata() -> None:
    assert strata_of(block(9, 9, 9), WHOLE) == (NONE,)
    assert strata_of(block(5, 10, 10), WHOLE) == (NONE,)
    assert strata_of(block(499, 1, 1)[:40], WHOLE) == (TINY, THIN)
    assert strata_of(block(7, 7, 10), WHOLE) == (TINY,)
    assert strata_of(block(30, 4, 30), WHOLE) == (THIN,)
    assert strata_of(block(30, 4, 30), WHOLE, (1, 1, 1)) == (THIN,)
    # Four slices of two pixels each are no thin plate.
    assert strata_of(block(4, 30, 30), WHOLE, (2, 1, 1)) == (NONE,)


def test_an_object_leaves_its_box_below_three_fifths() -> None:
    mask = block(10, 10, 10)
    assert strata_of(mask, Box((5, 5, 5), (11, 15, 15), 8)) == (NONE,)
    assert strata_of(mask, Box((5, 5, 5), (10, 15, 15), 8)) == (LEAVES_BOX,)
    assert strata_of(block(30, 3, 5), Box((5, 5, 5), (10, 8, 10), 8)) == (TINY, THIN, LEAVES_BOX)


def test_strata_of_real_volumes(shared_data: Path) -> None:
    """The spinal cord and other long organs of OpenKBP leave their boxes; sarcomas are none of these."""
    found: dict[str, Counter[str]] = {}
    for path, case in loosened_cases(sorted((shared_data / "val").glob("CT_[io]*.npz"))):
        truth = read_labels(path)
        for index, box in enumerate(case.boxes, start=1):
            assert box is not None
            found.setdefault(case.name[:6], Counter()).update(strata_of(truth == index, box, case.spacing))
    assert found["CT_ibs"] == {NONE: 6}
    assert found["CT_ope"][TINY] == 37
    assert found["CT_ope"][THIN] == 38
    assert 10 <= found["CT_ope"][LEAVES_BOX] <= 14
