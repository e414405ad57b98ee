"""A session: what is said of a volume step by step, and taken back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexor import Session
from lexor.errors import CaseError
from lexor.evaluation.metrics import dice
from lexor.geometry import Box, Clicks
from lexor.inference.engine import Engine
from lexor.inference.marks import MOST_POINTS, Mark, Prompts, sampled, thickened
from lexor.inference.predictor import Predictor
from lexor.inference.volume import Volume
from lexor.io.case import Case

SHAPE = (24, 48, 48)
GRID = np.ogrid[tuple(slice(n) for n in SHAPE)]


def ellipsoid(middle: tuple[int, int, int], half: tuple[int, int, int]) -> np.ndarray:
    mask: np.ndarray = sum(((g - m) / h) ** 2 for g, m, h in zip(GRID, middle, half, strict=True)) <= 1
    return mask


BALL = ellipsoid((12, 22, 16), (6, 8, 8))
OTHER = ellipsoid((12, 24, 38), (5, 7, 6))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(device="cpu")


@pytest.fixture
def session(engine: Engine) -> Session:
    rng = np.random.default_rng(0)
    volume = np.clip(60 + 120 * BALL + 80 * OTHER + rng.normal(0, 8, SHAPE), 0, 255).astype(np.uint8)
    session = Session(engine=engine)
    assert session.set_volume(volume, (1.0, 1.0, 1.0)) == ()
    return session


def test_a_click_is_answered_and_stays_as_it_said(session: Session) -> None:
    mask = session.click((12, 22, 16))
    assert (mask.shape, mask.dtype) == (SHAPE, bool)
    assert dice(mask, BALL) > 0.7
    assert mask[12, 22, 16]
    mask = session.click((12, 22, 16), positive=False)
    assert not mask[12, 22, 16]
    np.testing.assert_array_equal(session.labels() == 1, mask)


def test_a_box_is_answered(session: Session) -> None:
    box = Box.measured(BALL)
    assert dice(session.box(box.lower, box.upper, box.z_mid), BALL) > 0.85


def test_a_flat_box_says_nothing_of_the_extent_across_it(session: Session) -> None:
    mask = session.box((12, 14, 8), (13, 31, 25))
    assert mask.any((1, 2)).sum() > 6
    assert dice(mask, BALL) > 0.7


def test_all_of_a_scribble_and_of_a_lasso_are_honoured(session: Session) -> None:
    scribble = np.zeros(SHAPE, bool)
    scribble[12, 18:27, 16] = True
    assert session.scribble(scribble)[scribble].all()
    outside = np.zeros(SHAPE, bool)
    outside[12, 22, 30:33] = True
    mask = session.scribble(outside, positive=False)
    assert not mask[outside].any()
    assert mask[scribble].all()
    hole = np.zeros(SHAPE, bool)
    hole[12] = ellipsoid((12, 22, 16), (1, 3, 3))[12]
    assert not session.lasso(hole, positive=False)[hole].any()


def test_a_lasso_on_a_slice_tells_an_objects_size(session: Session) -> None:
    region = np.zeros(SHAPE, bool)
    region[12] = BALL[12]
    mask = session.lasso(region)
    assert mask[region].all()
    assert dice(mask, BALL) > 0.8


def test_a_mask_is_where_the_next_prompt_goes_on(session: Session) -> None:
    half = BALL & (GRID[2] < 17)
    np.testing.assert_array_equal(session.previous(half), half)
    mask = session.click((12, 22, 21))
    assert mask[12, 22, 21]
    assert dice(mask, BALL) > dice(half, BALL)


def test_steps_are_taken_back_one_by_one(session: Session) -> None:
    seen = [session.labels()]
    session.box((6, 14, 8), (19, 31, 25))
    seen.append(session.labels())
    session.click((2, 2, 2), positive=False)
    seen.append(session.labels())
    assert session.new_object() == 2
    session.box((7, 17, 32), (17, 31, 44))
    seen.append(session.labels())
    session.reset()
    assert not session.mask(2).any()
    for expected in reversed(seen):
        assert session.undo()
        np.testing.assert_array_equal(session.labels(), expected)
    assert not session.undo()


def test_what_is_undone_leaves_no_trace(session: Session) -> None:
    session.box((6, 14, 8), (19, 31, 25))
    once = session.click((12, 22, 22))
    session.undo()
    session.click((1, 1, 1), positive=False)
    session.undo()
    np.testing.assert_array_equal(session.click((12, 22, 22)), once)


def test_locked_objects_keep_their_voxels(session: Session) -> None:
    first = session.box((6, 14, 8), (19, 31, 25))
    session.lock(1)
    assert session.new_object() == 2
    assert session.new_object() == 2, "nothing was said of it"
    everything = np.ones(SHAPE, bool)
    np.testing.assert_array_equal(session.previous(everything), ~first)
    session.lock(1, False)
    np.testing.assert_array_equal(session.previous(everything), everything)
    assert not session.mask(1).any()
    session.select(1)
    assert session.current == 1


def test_rounds_of_clicks_are_those_of_cases(session: Session, engine: Engine) -> None:
    """To the last voxel: the evaluator uses a session, the container has a file each round."""
    predictor = Predictor(device="cpu")
    boxes = (Box.measured(BALL), Box.measured(OTHER))
    case = replace(session.case(), boxes=boxes)
    rounds = [{1: ((12, 30, 16), True), 2: ((12, 24, 45), False)}, {2: ((9, 24, 38), True)}]
    running = predictor.session(case)
    labels = running.predict().labels
    np.testing.assert_array_equal(labels, predictor.predict(case))
    given = [Clicks(), Clicks()]
    for clicks in rounds:
        for index, (point, foreground) in clicks.items():
            old = given[index - 1]
            given[index - 1] = Clicks((*old.points, point), (*old.foreground, foreground))
        wanted = predictor.predict(replace(case, clicks=tuple(given), previous=labels))
        running.add_clicks(clicks)
        labels = running.predict().labels
        np.testing.assert_array_equal(labels, wanted)


def test_a_case_is_opened_with_all_that_it_says(engine: Engine, ball_case: Case) -> None:
    session = Session(engine=engine)
    previous = np.zeros(ball_case.volume.shape, np.uint8)
    previous[3, 4, 5] = 2
    case = replace(ball_case, clicks=(Clicks(), Clicks(((1, 2, 3),), (True,))), previous=previous)
    session.open(case)
    assert session.objects == 2
    assert session.case().boxes == (ball_case.boxes[0], None)
    assert session.case().clicks == case.clicks
    assert session.mask(2)[3, 4, 5]
    session.open(replace(ball_case, boxes=(), clicks=()))
    assert session.case().n_classes == 0


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (lambda s: s.click((24, 0, 0)), r"click \(24, 0, 0\) is outside the volume of shape \(24, 48, 48\)"),
        (lambda s: s.box((3, 3, 3), (3, 9, 9)), "is empty"),
        (lambda s: s.box((30, 0, 0), (31, 4, 4)), "outside the volume"),
        (lambda s: s.scribble(np.zeros(SHAPE, bool)), "scribble is empty; mark a voxel"),
        (lambda s: s.lasso(np.ones((2, 2, 2), bool)), r"lasso has shape \(2, 2, 2\)"),
        (lambda s: s.previous(np.ones((2, 2, 2), bool)), r"mask has shape \(2, 2, 2\)"),
        (lambda s: s.set_volume(np.zeros((3, 3))), r"volume has shape \(3, 3\)"),
        (lambda s: s.set_volume(np.zeros((3, 3, 3)), (1, 0, 1)), "spacing is"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(session: Session, say, message: str) -> None:
    before = session.box((6, 14, 8), (19, 31, 25))
    with pytest.raises(CaseError, match=message):
        say(session)
    np.testing.assert_array_equal(session.mask(), before)
    assert session.undo()
    assert not session.undo()


def test_without_a_volume_or_an_object(engine: Engine) -> None:
    session = Session(engine=engine)
    for say in (session.predict, session.case, session.reset, lambda: session.click((0, 0, 0))):
        with pytest.raises(CaseError, match="there is no volume; call set_volume first"):
            say()
    for say in (session.select, session.lock):
        with pytest.raises(ValueError, match=r"object 2: there are 1\.\.1"):
            say(2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_points_of_a_region_lie_in_it_apart_from_one_another(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    region = np.zeros((6, 12, 12), bool)
    region[tuple(rng.integers(0, n, size) for n in region.shape)] = True
    points = sampled(region)
    assert 1 <= len(points) <= MOST_POINTS
    assert len(set(points)) == len(points)
    assert all(region[point] for point in points)


def test_the_first_point_of_a_region_is_the_innermost() -> None:
    assert sampled(BALL)[0] == (12, 22, 16)


@given(
    st.tuples(*[st.integers(0, n - 1) for n in SHAPE]),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.floats(0.2, 8),
)
def test_a_box_is_thickened_only_where_it_is_flat(
    lower: tuple[int, int, int], size: tuple[int, int, int], ratio: float
) -> None:
    upper = tuple(min(a + n, end) for a, n, end in zip(lower, size, SHAPE, strict=True))
    box = Box(lower, upper, lower[0])
    new = thickened(box, SHAPE, ratio)
    for axis in range(3):
        assert 0 <= new.lower[axis] <= box.lower[axis]
        assert box.upper[axis] <= new.upper[axis] <= SHAPE[axis]
        if box.shape[axis] > 1:
            assert (new.lower[axis], new.upper[axis]) == (box.lower[axis], box.upper[axis])


def test_predicting_keeps_what_is_locked_and_what_was_scribbled(session: Session) -> None:
    lower, upper = (6, 12, 6), (19, 32, 26)
    session.box(lower, upper)
    scribble = np.zeros(SHAPE, bool)
    scribble[12, 4:40, 16] = True
    mask = session.scribble(scribble)
    session.lock(1)
    session.new_object()
    session.box((4, 10, 4), (21, 34, 28))
    labels = session.predict().labels
    assert (labels[mask] == 1).all()
    session.lock(1, locked=False)
    assert (session.predict().labels[scribble] == 1).all()


def test_undo_leaves_locks_alone(session: Session) -> None:
    session.click((12, 22, 16))
    session.click((12, 24, 16))
    session.lock(1)
    session.undo()
    held = session.mask(1)
    session.new_object()
    session.box((6, 12, 6), (19, 32, 26))
    np.testing.assert_array_equal(session.mask(1), held)
    session.select(1)
    session.reset()
    session.undo()
    assert session._objects.prompts[0].locked


def test_undo_brings_back_labels_past_255(engine: Engine) -> None:
    last = np.where(BALL, 300, 0).astype(np.uint16)
    session = Session(engine=engine)
    session.open(Case("volume", np.where(BALL, 200, 60).astype(np.uint8), previous=last))
    session.predict("intensity")
    session.undo()
    np.testing.assert_array_equal(session.labels(), last)


def test_labels_that_no_object_has_are_background(engine: Engine) -> None:
    last = np.where(BALL, 300, OTHER).astype(np.uint16)
    session = Session(engine=engine)
    session.open(Case("volume", np.full(SHAPE, 9, np.uint8), boxes=(None,), previous=last))
    np.testing.assert_array_equal(session.labels(), OTHER & ~BALL)


def test_nobody_changes_a_session_from_outside(engine: Engine) -> None:
    volume = np.where(BALL, 200, 60).astype(np.uint8)
    session = Session(engine=engine)
    session.set_volume(volume)
    first = session.box((6, 14, 8), (19, 31, 25))
    volume[:] = 0
    session.predict().labels[:] = 9
    assert session.labels().max() == 1
    session.reset()
    np.testing.assert_array_equal(session.box((6, 14, 8), (19, 31, 25)), first)


def test_a_volume_may_be_read_only_or_a_list(engine: Engine) -> None:
    volume = np.where(BALL, 200, 60).astype(np.uint8)
    volume.flags.writeable = False
    session = Session(engine=engine)
    session.set_volume(volume)
    first = session.box((6, 14, 8), (19, 31, 25))
    assert engine.predict(Case("volume", volume), Volume.of(volume), "intensity").labels.any()
    session.set_volume(volume.tolist())
    np.testing.assert_array_equal(session.box((6, 14, 8), (19, 31, 25)), first)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 1, 1), "abc", 3.0, (None, 1, 1), (1e300, 1, 1)])
def test_what_is_no_spacing_leaves_the_session_as_it_was(session: Session, spacing: object) -> None:
    before = session.case()
    with pytest.raises(CaseError, match="three positive numbers"):
        session.set_volume(np.zeros((2, 2, 2), np.uint8), spacing)  # type: ignore[arg-type]
    assert session.case().volume is before.volume


@pytest.mark.parametrize(
    "point", [(12, 22), (12, 22, 16, 1), (np.nan, 22, 16), ("a", 1, 2), 5, None, [[1, 2, 3]]]
)
def test_what_is_no_voxel_is_named(session: Session, point: object) -> None:
    with pytest.raises(CaseError, match=r"click is .*give voxel indices"):
        session.click(point)  # type: ignore[arg-type]
    with pytest.raises(CaseError, match=r"upper is .*give voxel indices"):
        session.box((0, 0, 0), point)  # type: ignore[arg-type]
    assert not session.undo()


@pytest.mark.parametrize("verb", ["scribble", "lasso", "previous"])
def test_probabilities_are_no_mask(session: Session, verb: str) -> None:
    for mask in (0.1 + 0.8 * BALL, np.where(BALL, np.nan, 0)):
        with pytest.raises(CaseError, match="float64 and holds"):
            getattr(session, verb)(mask)
    assert getattr(session, verb)(BALL.astype(float))[BALL].all()


def test_numbers_that_no_object_has_are_refused(session: Session) -> None:
    for number in (0, -1, 2, 1.5):
        for verb in (session.mask, session.select, session.lock):
            with pytest.raises(ValueError, match=r"there are 1\.\.1"):
                verb(number)  # type: ignore[operator]
    for top in (0, -1, 2.5):
        with pytest.raises(ValueError, match="whole number"):
            session.predict("auto", top)  # type: ignore[arg-type]


def test_clicks_that_are_refused_are_not_kept(session: Session) -> None:
    with pytest.raises(CaseError, match="outside the volume"):
        session.add_clicks({1: ((12, 22, 16), True), 2: ((99, 22, 16), True)})
    with pytest.raises(ValueError, match="numbered from 1"):
        session.add_clicks({0: ((12, 22, 16), True)})
    assert session.case().clicks == ()


def test_another_session_takes_up_what_was_said(session: Session, engine: Engine) -> None:
    session.box((5, 13, 7), (20, 32, 26))
    session.click((12, 22, 16), positive=False)
    session.lock(1)
    session.new_object()
    session.box((7, 17, 32), (18, 32, 45))
    session.scribble(ellipsoid((12, 24, 38), (1, 2, 2)))
    other = Session(engine=engine)
    other.open(replace(session.case(), boxes=(), clicks=(), previous=None))
    other.resume(session.prompts, session.labels())
    assert other.objects == 2
    assert other.current == 1
    assert not other.undo()
    np.testing.assert_array_equal(other.labels(), session.labels())
    assert other.prompts == session.prompts
    # The next prompt is answered alike by both, and what was said before still holds.
    for each in (session, other):
        each.select(2)
        each.click((12, 30, 40))
    np.testing.assert_array_equal(other.labels(), session.labels())
    assert not other.mask(1)[12, 22, 16]


@pytest.mark.parametrize(
    ("prompts", "labels", "message"),
    [
        ((Prompts(),), np.zeros((2, 2, 2), np.uint8), "labels are uint8 of shape"),
        ((Prompts(),), np.zeros(SHAPE), "labels are float64 of shape"),
        ((Prompts(),), np.full(SHAPE, 2), "there are prompts of objects 1..1"),
        ((Prompts(),), np.full(SHAPE, -1), "labels are -1..-1"),
        ((Prompts(Box((0, 0, 0), (99, 9, 9), 1)),), np.zeros(SHAPE, np.uint8), "goes beyond"),
        ((Prompts(clicks=Clicks(((0, 0, 48),), (True,))),), np.zeros(SHAPE, np.uint8), "outside"),
        ((Prompts(marks=(Mark(np.array([[-1, 0, 0]]), True),)),), np.zeros(SHAPE, np.uint8), "outside"),
    ],
)
def test_what_was_said_of_another_volume_is_not_taken_up(
    session: Session, prompts: tuple[Prompts, ...], labels: np.ndarray, message: str
) -> None:
    session.previous(BALL)
    before = session.labels()
    with pytest.raises(CaseError, match=message):
        session.resume(prompts, labels)
    np.testing.assert_array_equal(session.labels(), before)


def test_what_is_noted_is_answered_together_and_undone_together(session: Session) -> None:
    assert not session.waits
    assert not session.answer().any()
    session.box((6, 14, 8), (19, 31, 25), later=True)
    first = session.click((12, 22, 30), later=True)
    assert not first.any()
    assert session.waits
    mask = session.answer().copy()
    assert mask[12, 22, 30]
    assert mask[12, 22, 16]
    assert not session.waits
    np.testing.assert_array_equal(session.answer(), mask)
    # The answer goes with what was noted last; the box waits again.
    assert session.undo()
    assert session.waits
    assert not session.mask().any()
    boxed = session.answer().copy()
    assert boxed[12, 22, 16]
    assert session.undo()
    assert not session.undo()
    assert not session.waits
    np.testing.assert_array_equal(session.box((6, 14, 8), (19, 31, 25)), boxed)


def test_boxes_on_two_planes_make_one(session: Session) -> None:
    session.box((12, 14, 8), (13, 31, 25), later=True)
    [flat] = session.case().boxes
    # Nobody has said how thick it is: as thick as it is wide.
    assert flat == Box((4, 14, 8), (21, 31, 25), 12)
    session.box((6, 14, 16), (19, 31, 17), join=True, later=True)
    assert session.case().boxes == (Box((6, 14, 8), (19, 31, 25), 12),)
    session.undo()
    assert session.case().boxes == (flat,)
    session.box((6, 14, 16), (19, 31, 17), later=True)
    assert session.case().boxes == (Box((6, 14, 9), (19, 31, 24), 12),)


def test_a_mask_may_be_of_a_part(session: Session) -> None:
    whole = np.zeros(SHAPE, bool)
    whole[12, 20:25, 14:19] = True
    part = np.zeros((3, 9, 10), np.uint8)
    part[2, 2:7, 4:9] = 1
    for verb in (session.scribble, session.lasso):
        verb(whole, later=True)
        case, [mark] = session.case(), session._objects.mine.marks
        session.clear()
        verb(part, at=(10, 18, 10), later=True)
        again, [same] = session.case(), session._objects.mine.marks
        assert (again.clicks, again.boxes) == (case.clicks, case.boxes)
        np.testing.assert_array_equal(same.voxels, np.argwhere(whole))
        np.testing.assert_array_equal(same.voxels, mark.voxels)
        session.clear()
    with pytest.raises(CaseError, match="reaches outside"):
        session.scribble(part, at=(22, 18, 10))
    with pytest.raises(CaseError, match="reaches outside"):
        session.lasso(part, at=(0, -1, 10))
    with pytest.raises(CaseError, match="give voxel indices"):
        session.lasso(part, at=(0, 1, None))  # type: ignore[arg-type]


def test_a_mask_alone_is_refined_and_taken_back_as_one(session: Session) -> None:
    session.click((2, 2, 2), later=True)
    rough = ellipsoid((12, 22, 16), (4, 6, 6))
    before = session.case()
    mask = session.previous(rough, alone=True, refine=True).copy()
    assert not session.case().clicks
    assert dice(mask, BALL) > dice(rough, BALL)
    assert session.undo()
    assert session.case().clicks == before.clicks
    assert not session.mask().any()
    np.testing.assert_array_equal(session.previous(rough, alone=True), rough)
    np.testing.assert_array_equal(session.previous(rough, refine=True), mask)
    assert session.where() == (*(slice(int(e.min()), int(e.max()) + 1) for e in np.nonzero(mask)),)


def test_clear_forgets_all_but_the_volume(session: Session) -> None:
    session.box((6, 14, 8), (19, 31, 25))
    session.new_object()
    session.lock(1)
    session.clear()
    assert (session.objects, session.current, session.shape) == (1, 1, SHAPE)
    assert not session.labels().any()
    assert not session.undo()
    assert session.case().boxes == ()
    assert session.where() is None
