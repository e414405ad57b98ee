import numpy as np
import pytest
from golden import block, mask_pairs
from hypothesis import given
from hypothesis import strategies as st

from lexor.protocol.clicks import Click, inside_distance, labels_in, next_click, next_clicks

PAIRS = mask_pairs()

# Clicks of the organisers' evaluator on `mask_pairs`: the loop over classes and the functions of
# CVPR25_iter_eval.py (github.com/JunMa11/CVPR-MedSegFMCompetition, commit 748e862), with numpy 1.26.3, scipy 1.12.0,
# connected-components-3d 3.12.4, on a CPU. The second column: with 300 voxels in place of their 60,000,000, past
# which they halve the volume.
GOLDEN: dict[str, tuple[Click, Click]] = {
    "single voxels": (((0, 12, 7), False), ((0, 12, 7), False)),
    "sparse": (((1, 6, 4), False), ((1, 6, 4), False)),
    "dense": (((5, 10, 6), True), ((5, 10, 9), False)),
    "missed block": (((4, 6, 5), True), ((3, 6, 9), True)),
    "spurious slab": (((5, 10, 2), False), ((4, 9, 0), False)),
    "two equal blocks": (((2, 2, 11), False), ((2, 2, 11), False)),
    "a flat block": (((3, 8, 5), True), ((3, 8, 5), True)),
    "a block with holes": (((6, 5, 8), True), ((6, 5, 8), True)),
    "a shifted block": (((5, 12, 14), False), ((6, 12, 13), False)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_clicks_are_those_of_the_organisers(name: str) -> None:
    prediction, truth = PAIRS[name]
    assert next_click(prediction, truth) == GOLDEN[name][0]
    assert next_click(prediction, truth, large_crop=300) == GOLDEN[name][1]


def test_a_perfect_mask_gets_no_click() -> None:
    mask = block((1, 2, 3), (4, 5, 6))
    assert next_click(mask, mask.copy()) is None
    assert next_click(np.zeros_like(mask), np.zeros_like(mask)) is None


def test_the_middle_of_a_ball_is_clicked_and_its_kind_is_the_truths() -> None:
    z, y, x = np.ogrid[:15, :15, :15]
    ball = (z - 6) ** 2 + (y - 7) ** 2 + (x - 8) ** 2 <= 20
    nothing = np.zeros_like(ball)
    assert next_click(nothing, ball) == ((6, 7, 8), True)
    assert next_click(ball, nothing) == ((6, 7, 8), False)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    wrong = block((0, 0, 0), (2, 2, 2)) | block((2, 2, 2), (4, 4, 4))
    apart = block((6, 8, 8), (9, 11, 10))
    assert wrong.sum() == 16
    assert apart.sum() == 18
    assert next_click(wrong | apart, np.zeros_like(wrong)) == ((7, 8, 8), False)
    smaller = block((6, 8, 8), (9, 9, 13))
    (z, y, x), _ = next_click(wrong | smaller, np.zeros_like(wrong)) or ((-1, -1, -1), True)
    assert max(z, y, x) < 4


def test_of_equal_parts_the_first_in_raster_order_is_taken() -> None:
    late, early = block((5, 1, 1), (8, 4, 4)), block((4, 9, 9), (7, 12, 12))
    assert next_click(late | early, np.zeros_like(late)) == ((5, 10, 10), False)


def test_the_end_of_the_volume_is_outside() -> None:
    """A slab that fills half of the volume is deepest in its middle, not at the volume's wall."""
    slab = block((0, 0, 0), (9, 14, 9))
    np.testing.assert_array_equal(inside_distance(slab[:, :, :9])[:, 7, 4], [1, 2, 3, 4, 5, 4, 3, 2, 1])


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(3)  # noqa: NPY002
    wanted = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    next_click(*PAIRS["missed block"])
    assert np.random.random() == wanted  # noqa: NPY002


def test_each_label_of_the_truth_has_its_click() -> None:
    truth = np.zeros((9, 14, 16), np.uint8)
    truth[block((1, 1, 1), (4, 4, 4))] = 1
    truth[block((5, 5, 5), (8, 8, 8))] = 2
    truth[block((1, 9, 9), (2, 10, 10))] = 5
    labels = truth.copy()
    labels[labels == 5] = 2
    labels[7, 13, 15] = 7
    assert labels_in(truth) == [1, 2, 5]
    assert next_clicks(labels, truth) == {1: None, 2: ((1, 9, 9), False), 5: ((1, 9, 9), True)}


@given(st.integers(0, 2**27 - 1), st.integers(0, 2**27 - 1))
def test_a_click_is_on_an_error_and_says_the_truth(first: int, second: int) -> None:
    prediction, truth = (
        np.array([bits >> i & 1 for i in range(27)], bool).reshape(3, 3, 3) for bits in (first, second)
    )
    for large in (60_000_000, 1):
        click = next_click(prediction, truth, large)
        assert (click is None) == (first == second)
        if click is not None:
            assert prediction[click[0]] != truth[click[0]]
            assert truth[click[0]] == click[1]
