import numpy as np
import pytest
import torch

from lexor.case import Clicks
from lexor.inference.merging import Answer, honour_clicks, merge, stack
from lexor.inference.targets import Target
from lexor.inference.views import View

SHAPE = (4, 5, 6)
WHOLE = (slice(0, 4), slice(0, 5), slice(0, 6))


def answer(logits: torch.Tensor, where=WHOLE) -> Answer:
    return Answer(where, logits, SHAPE, (1.0, 1.0, 1.0))


def clicked(index: int, *clicks: tuple[tuple[int, int, int], bool]) -> Target:
    points = Clicks(tuple(p for p, _ in clicks), tuple(f for _, f in clicks))
    return Target(index, None, points, None, (0, 0, 0), (4, 5, 6), "clicks")


def test_the_surer_class_has_the_voxel_whatever_the_order() -> None:
    low, high = torch.full(SHAPE, 1.0), torch.full(SHAPE, -1.0)
    high[1:3] = 2.0
    first = merge([answer(low.clone()), answer(high.clone())], [1, 2], SHAPE)
    second = merge([answer(high), answer(low)], [2, 1], SHAPE)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8
    assert set(np.unique(first[1:3])) == {2}
    assert set(np.unique(first[[0, 3]])) == {1}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_what_lies_in_a_larger_target_has_its_voxels(order: tuple[int, int]) -> None:
    """A lesion in an organ, which is surest where it is deepest."""
    organ, lesion = torch.full(SHAPE, 5.0), torch.full((2, 2, 2), 1.0)
    where = (slice(1, 3), slice(1, 3), slice(2, 4))
    labels = merge([answer(organ), answer(lesion, where)], order, SHAPE)
    assert set(np.unique(labels[where])) == {order[1]}
    assert (labels == order[0]).sum() == 4 * 5 * 6 - 8


def test_a_core_in_a_lesion_in_an_organ() -> None:
    organ, lesion, core = torch.full(SHAPE, 9.0), torch.full((4, 3, 3), 5.0), torch.full((2, 2, 2), 1.0)
    within = (slice(0, 4), slice(1, 4), slice(1, 4))
    innermost = (slice(1, 3), slice(1, 3), slice(1, 3))
    labels = merge([answer(core, innermost), answer(organ), answer(lesion, within)], [1, 2, 3], SHAPE)
    assert [int((labels == label).sum()) for label in (1, 2, 3)] == [8, 120 - 36, 36 - 8]


def test_ranked_targets_lose_nothing_to_later_ones() -> None:
    first, second = torch.full((2, 5, 6), 1.0), torch.full(SHAPE, 9.0)
    above = (slice(0, 2), slice(0, 5), slice(0, 6))
    alone = stack([answer(first, above)], [1], SHAPE)
    both = stack([answer(second), answer(first, above)], [2, 1], SHAPE)
    np.testing.assert_array_equal(both == 1, alone == 1)
    assert (both[2:] == 2).all()


def test_what_only_touches_a_larger_target_does_not_have_its_voxels() -> None:
    large, small = torch.full((4, 5, 4), 5.0), torch.full((2, 2, 4), 1.0)
    labels = merge(
        [
            answer(large, (slice(0, 4), slice(0, 5), slice(0, 4))),
            answer(small, (slice(1, 3), slice(1, 3), slice(2, 6))),
        ],
        [1, 2],
        SHAPE,
    )
    assert (labels == 1).sum() == 80
    assert (labels == 2).sum() == 8


def test_outside_of_an_answer_is_background() -> None:
    labels = merge([answer(torch.ones(1, 2, 2), (slice(1, 2), slice(0, 2), slice(3, 5)))], [1], SHAPE)
    assert labels.sum() == 4
    assert labels[1, :2, 3:5].all()


def test_more_than_255_classes_need_sixteen_bits() -> None:
    logits = torch.ones(SHAPE)
    assert merge([answer(logits)], [300], SHAPE).dtype == np.uint16


def test_extent_and_slices() -> None:
    logits = torch.full(SHAPE, -1.0)
    assert answer(logits).extent() is None
    logits[1:3, 2, 4:6] = 1
    part = Answer((slice(10, 14), slice(0, 5), slice(20, 26)), logits, (20, 9, 30), (1, 1, 1))
    assert part.extent() == ((11, 2, 24), (13, 3, 26))
    part.keep_slices(12, 13)
    assert part.extent() == ((12, 2, 24), (13, 3, 26))


def test_reading_back_what_was_written() -> None:
    logits = torch.arange(8.0).view(2, 2, 2)
    part = Answer((slice(1, 3), slice(2, 4), slice(3, 5)), logits, SHAPE, (1, 1, 1))
    torch.testing.assert_close(part.read(View((1, 2, 3), (3, 4, 5), (2, 2, 2)))[0], logits)


def test_undecided_where_the_surface_passes() -> None:
    logits = torch.full(SHAPE, -9.0)
    logits[:2] = 9.0
    part = answer(logits)
    assert part.undecided(View((0, 0, 0), (4, 5, 6), (4, 5, 6)), 1.0)
    assert not part.undecided(View((0, 0, 0), (2, 5, 6), (4, 5, 6)), 1.0)
    assert not part.undecided(View((2, 0, 0), (4, 5, 6), (4, 5, 6)), 1.0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_clicks_decide_their_voxels(order: tuple[int, int]) -> None:
    labels = np.full(SHAPE, 2, np.uint8)
    targets = [
        clicked(1, ((0, 0, 0), True), ((1, 1, 1), False), ((3, 3, 3), True)),
        clicked(2, ((2, 2, 2), False), ((3, 3, 3), False)),
    ]
    honour_clicks(labels, [targets[i] for i in order])
    assert labels[0, 0, 0] == 1
    assert labels[1, 1, 1] == 2, "a background click of class 1 says nothing about class 2"
    assert labels[2, 2, 2] == 0
    assert labels[3, 3, 3] == 1, "the class whose foreground click it is has the voxel"


def test_the_latest_click_on_a_voxel_counts() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    honour_clicks(labels, [clicked(1, ((0, 0, 0), False), ((0, 0, 0), True))])
    assert labels[0, 0, 0] == 1
    honour_clicks(labels, [clicked(1, ((0, 0, 0), True), ((0, 0, 0), False))])
    assert labels[0, 0, 0] == 0


def test_of_two_classes_that_click_a_voxel_the_one_of_the_later_round_has_it() -> None:
    at, elsewhere = (1, 1, 1), (3, 3, 3)
    once, later = clicked(1, (at, True)), clicked(2, (elsewhere, True), (at, True))
    for targets in ([once, later], [later, once]):
        labels = np.zeros(SHAPE, np.uint8)
        honour_clicks(labels, targets)
        assert labels[at] == 2
    labels = np.zeros(SHAPE, np.uint8)
    honour_clicks(labels, [clicked(1, (elsewhere, True), (at, True)), clicked(2, (at, True))])
    assert labels[at] == 1
    honour_clicks(labels, [clicked(1, (at, True)), clicked(2, (at, True))])
    assert labels[at] == 2, "in the same round the later class in the file"
