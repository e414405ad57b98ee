import sys

import numpy as np
import pytest

from lexor.evaluation.baselines import filled_box, inscribed_ellipsoid, otsu_in_box
from lexor.geometry import Box

BOX = Box((2, 4, 6), (12, 24, 36), 7)
VOLUME = np.zeros((20, 30, 40), np.uint8)


def test_filled_box() -> None:
    mask = filled_box(VOLUME, BOX)
    assert mask.sum() == 10 * 20 * 30
    assert mask[2:12, 4:24, 6:36].all()


def test_the_ellipsoid_has_its_volume_and_stays_in_its_box() -> None:
    mask = inscribed_ellipsoid(VOLUME, BOX)
    assert mask.sum() == pytest.approx(np.pi / 6 * 6000, rel=0.02)
    assert not (mask & ~filled_box(VOLUME, BOX)).any()
    assert mask[7, 14, 21]
    assert inscribed_ellipsoid(VOLUME, Box((0, 0, 0), (1, 1, 1), 0)).sum() == 1


@pytest.mark.parametrize("polarity", [1, -1])
def test_otsu_takes_the_side_of_the_boxs_middle(polarity: int) -> None:
    volume = VOLUME.astype(int) + 100
    volume[4:10, 8:20, 12:30] += 60 * polarity
    volume[18, 28, 38] = 255
    mask = otsu_in_box(volume.astype(np.uint8), BOX)
    assert mask.sum() == 6 * 12 * 18
    assert mask[4:10, 8:20, 12:30].all()
    assert otsu_in_box(VOLUME, BOX).sum() == 6000


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.filters", None)
    with pytest.raises(ImportError, match=r"lexor\[evaluate\]"):
        otsu_in_box(VOLUME, BOX)
