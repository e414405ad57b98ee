from pathlib import Path

import matplotlib.image
import numpy as np

from lexor.training.contact_sheet import draw_scenes, middle_slice
from lexor.training.synthetic import Scene


def scene(lit: int) -> Scene:
    image = np.zeros((6, 20, 30), np.uint8)
    image[lit] = 200
    target = np.zeros(image.shape, bool)
    target[lit, 5:12, 5:12] = True
    return Scene(image, (target,), "CT")


def test_the_slice_cuts_the_most_targets() -> None:
    one, two = np.zeros((5, 4, 4), bool), np.zeros((5, 4, 4), bool)
    one[1], one[2:4, 0, 0], two[3, :2] = True, True, True
    assert middle_slice([one]) == 1
    assert middle_slice([one, two]) == 3


def test_a_sheet_shows_the_targets_slices(tmp_path: Path) -> None:
    path = draw_scenes([scene(2), scene(4), scene(1)], tmp_path / "deep" / "sheet.png", columns=2)
    picture = matplotlib.image.imread(path)[..., :3]
    assert picture.shape[0] > 300
    assert picture.shape[1] > 300
    # Grey of the lit slice, in all three; the contour's colour; nothing in the empty fourth field.
    grey = np.abs(picture - 200 / 255).max(-1) < 0.01
    top, left = (n // 2 for n in picture.shape[:2])
    corners = grey[:top, :left], grey[:top, left:], grey[top:, :left], grey[top:, left:]
    assert [corner.mean() > 0.1 for corner in corners] == [True, True, True, False]
    orange = np.abs(picture - np.array([0.902, 0.624, 0.0])).max(-1) < 0.05
    assert orange.sum() > 20
