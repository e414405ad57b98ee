import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.geometry import Clicks, Shape
from lexor.inference.merging import Answer, Merger, absent, honour_clicks
from lexor.inference.targets import Target
from lexor.inference.views import View

SHAPE = (4, 5, 6)
WHOLE = (slice(0, 4), slice(0, 5), slice(0, 6))


def answer(logits: torch.Tensor, where=WHOLE) -> Answer:
    return Answer(where, logits, SHAPE, (1.0, 1.0, 1.0))


def clicked(index: int, *clicks: tuple[tuple[int, int, int], bool]) -> Target:
    points = Clicks(tuple(p for p, _ in clicks), tuple(f for _, f in clicks))
    return Target(index, None, points, None, (0, 0, 0), (4, 5, 6), "clicks")


def merged(answers: dict[int, Answer], shape: Shape = SHAPE, ranked: bool = False) -> np.ndarray:
    merger = Merger(shape, max(answers), ranked)
    for index in sorted(answers):
        merger.add(index, answers[index])
    return merger.labels


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_mask_in_another_has_its_voxels(order: tuple[int, int]) -> None:
    """A lesion in an organ, which is surest where it is deepest."""
    organ, lesion = torch.full(SHAPE, 5.0), torch.full((2, 2, 2), 1.0)
    where = (slice(1, 3), slice(1, 3), slice(2, 4))
    labels = merged({order[0]: answer(organ), order[1]: answer(lesion, where)})
    assert labels.dtype == np.uint8
    assert set(np.unique(labels[where])) == {order[1]}
    assert (labels == order[0]).sum() == 4 * 5 * 6 - 8


def test_a_core_in_a_lesion_in_an_organ() -> None:
    organ, lesion, core = torch.full(SHAPE, 9.0), torch.full((4, 3, 3), 5.0), torch.full((2, 2, 2), 1.0)
    within = (slice(0, 4), slice(1, 4), slice(1, 4))
    innermost = (slice(1, 3), slice(1, 3), slice(1, 3))
    labels = merged({1: answer(core, innermost), 2: answer(organ), 3: answer(lesion, within)})
    assert [int((labels == label).sum()) for label in (1, 2, 3)] == [8, 120 - 36, 36 - 8]


@pytest.mark.parametrize("sureness", [1.0, 10.0])
def test_equals_have_what_they_are_surer_of_than_of_the_rest(sureness: float) -> None:
    """However much surer the network is of one of them."""
    first, second = torch.full(SHAPE, 2.0), torch.full(SHAPE, 2.0)
    first[:, :, :3] += 1
    second[:, :, 3:] += 1
    labels = merged({1: answer(first), 2: answer(second * sureness)})
    assert (labels[:, :, :3] == 1).all()
    assert (labels[:, :, 3:] == 2).all()


def test_what_only_one_mask_holds_is_its_own() -> None:
    large, small = torch.full((4, 5, 4), 5.0), torch.full((2, 2, 4), 1.0)
    parts = (slice(0, 4), slice(0, 5), slice(0, 4)), (slice(1, 3), slice(1, 3), slice(2, 6))
    labels = merged({1: answer(large, parts[0]), 2: answer(small, parts[1])})
    assert (labels[parts[1]] != 0).all()
    assert (labels[1:3, 1:3, 4:] == 2).all()
    assert (labels == 1).sum() >= 80 - 8


def test_ranked_targets_lose_nothing_to_later_ones() -> None:
    first, second = torch.full((2, 5, 6), 1.0), torch.full(SHAPE, 9.0)
    above = (slice(0, 2), slice(0, 5), slice(0, 6))
    alone = merged({1: answer(first, above)}, ranked=True)
    both = merged({2: answer(second), 1: answer(first, above)}, ranked=True)
    np.testing.assert_array_equal(both == 1, alone == 1)
    assert (both[2:] == 2).all()


def test_outside_of_an_answer_is_background() -> None:
    labels = merged({1: answer(torch.ones(1, 2, 2), (slice(1, 2), slice(0, 2), slice(3, 5)))})
    assert labels.sum() == 4
    assert labels[1, :2, 3:5].all()


def test_more_than_255_classes_need_sixteen_bits() -> None:
    labels = merged({300: answer(torch.ones(SHAPE))})
    assert labels.dtype == np.uint16
    assert (labels == 300).all()


def test_a_class_that_is_covered_by_others_keeps_its_surest_voxel() -> None:
    organ = torch.full(SHAPE, 5.0)
    organ[2, 3, 4] = 7.0
    halves = (slice(0, 4), slice(0, 5), slice(0, 3)), (slice(0, 4), slice(0, 5), slice(3, 6))
    merger = Merger(SHAPE, 3)
    merger.add(1, answer(organ.clone()))
    for index, half in enumerate(halves, start=2):
        merger.add(index, answer(torch.full((4, 5, 3), 1.0), half))
    assert absent(merger.labels, 3) == [1]
    assert merger.restore_lost() == [1]
    assert np.argwhere(merger.labels == 1).tolist() == [[2, 3, 4]]


@given(
    st.lists(
        st.tuples(
            *[st.tuples(st.integers(0, 2), st.integers(3, 5)) for _ in range(3)], st.integers(0, 2**32 - 1)
        ),
        min_size=1,
        max_size=9,
    ),
    st.booleans(),
)
def test_no_class_vanishes_whose_mask_alone_does_not(
    boxes: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]], constant: bool
) -> None:
    """Each mask has more voxels than there are classes; they may all be the same."""
    shape = (5, 5, 5)
    merger = Merger(shape, len(boxes))
    for index, (z, y, x, seed) in enumerate(boxes, start=1):
        where = (slice(*z), slice(*y), slice(*x))
        size = [s.stop - s.start for s in where]
        logits = torch.rand(size, generator=torch.Generator().manual_seed(seed)) + 0.1
        part = torch.ones(shape) if constant else torch.full(shape, -1.0)
        if not constant:
            part[where] = logits
            part[0:3, 0, 0:4] = 0.5
        before = part.clone()
        merger.add(index, Answer((slice(0, 5),) * 3, part, shape, (1.0, 1.0, 1.0)))
        torch.testing.assert_close(part, before)
    merger.restore_lost()
    assert absent(merger.labels, len(boxes)) == []


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
