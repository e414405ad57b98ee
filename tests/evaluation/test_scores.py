import numpy as np
import pytest
from golden import block

from lexor.evaluation.metrics import nsd, surface_dice
from lexor.evaluation.scores import area_under_runs, score_case

SPACING = (2.0, 1.0, 1.0)


def labelled(*masks: np.ndarray) -> np.ndarray:
    labels = np.zeros((9, 14, 16), np.uint8)
    for label, mask in enumerate(masks, start=1):
        labels[mask] = label
    return labels


BIG, SMALL = block((1, 1, 1), (7, 9, 9)), block((1, 10, 10), (5, 13, 14))
HALF, PART = block((1, 1, 1), (7, 5, 9)), block((4, 12, 10), (5, 13, 14))


def test_means_over_the_labels_of_the_truth() -> None:
    scores = score_case(labelled(BIG, HALF & False, SMALL), labelled(BIG, SMALL), SPACING)
    assert scores.dsc == 0.5
    assert scores.nsd == 0.5
    perfect = score_case(labelled(BIG, SMALL), labelled(BIG, SMALL), SPACING)
    assert (perfect.dsc, perfect.nsd) == (1, 1)


def test_a_label_of_low_dsc_still_has_its_nsd_where_the_case_is_good() -> None:
    assert 2 * PART.sum() / (PART.sum() + SMALL.sum()) < 0.2
    assert nsd(PART, SMALL, SPACING) == 0
    near = surface_dice(PART, SMALL, SPACING)
    assert near > 0.2
    scores = score_case(labelled(BIG, PART), labelled(BIG, SMALL), SPACING)
    assert scores.nsd == pytest.approx((1 + near) / 2)


def test_a_case_of_low_dsc_has_no_nsd_at_all() -> None:
    far = block((7, 12, 0), (9, 14, 3))
    scores = score_case(labelled(far, PART), labelled(BIG, SMALL), SPACING)
    assert 0 < scores.dsc <= 0.2
    assert scores.nsd == 0


def test_one_empty_mask_has_no_surface_in_common() -> None:
    empty = np.zeros_like(BIG)
    assert surface_dice(empty, BIG, SPACING) == 0
    assert surface_dice(BIG, empty, SPACING) == 0
    assert surface_dice(empty, empty, SPACING) == 1


def test_area_is_of_trapezoids_one_apart() -> None:
    assert area_under_runs([0.2, 0.4, 0.6, 0.8, 1.0]) == pytest.approx(2.4)
    assert area_under_runs([1.0] * 5) == 4
    assert area_under_runs([0.2, 0.4]) == pytest.approx(0.3)
