import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.inference.runner import Look, prompts_of
from lexor.inference.targets import AutomaticBox, Claims, resolve_targets
from lexor.inference.views import View
from lexor.io.case import Case


def test_a_box_is_its_own_region(ball_case: Case) -> None:
    (target,), warnings = resolve_targets(ball_case)
    assert warnings == []
    assert (target.index, target.source, target.exact_z) == (1, "box", True)
    assert (target.lower, target.upper) == ((5, 13, 16), (20, 32, 35))


def test_clicks_and_previous_labels_widen_the_region(ball_case: Case) -> None:
    previous = np.zeros(ball_case.volume.shape, np.uint8)
    previous[3, 20, 20] = 1
    clicks = (Clicks(((10, 40, 20),), (True,)),)
    (target,), _ = resolve_targets(replace(ball_case, previous=previous, clicks=clicks))
    assert target.source == "box"
    assert (target.lower, target.upper) == ((3, 13, 16), (20, 41, 35))
    assert target.previous is previous


def test_a_mask_alone_and_clicks_alone(ball_case: Case) -> None:
    previous = np.zeros(ball_case.volume.shape, np.uint8)
    previous[8:10, 20:25, 20:22] = 2
    case = replace(
        ball_case, boxes=(), clicks=(Clicks(((1, 2, 3),), (True,)), Clicks((), ())), previous=previous
    )
    first, second = resolve_targets(case)[0]
    assert (first.source, second.source) == ("clicks", "previous")
    assert first.previous is None
    assert (second.lower, second.upper) == ((8, 20, 20), (10, 25, 22))


def test_what_one_class_is_clicked_on_is_not_in_the_others(ball_case: Case) -> None:
    """A voxel that both were clicked on says nothing; a background click of another class neither."""
    first = Clicks(((1, 2, 3), (4, 4, 4), (9, 9, 9)), (True, False, True))
    second = Clicks(((5, 6, 7), (9, 9, 9)), (True, True))
    case = replace(ball_case, boxes=(), clicks=(first, second), previous=None)
    targets, _ = resolve_targets(case)
    whole = View((0.0, 0.0, 0.0), (24.0, 48.0, 48.0), (8, 16, 16))
    (one, other) = (prompts_of([Look(whole, target)], torch.device("cpu")) for target in targets)
    assert one.labels.tolist() == [[1, 0, 1, 0]]
    assert other.labels.tolist() == [[1, 1, 0]]
    torch.testing.assert_close(one.points[0, 3], whole.points_to_window(torch.tensor([5.0, 6, 7])))
    torch.testing.assert_close(other.points[0, 2], whole.points_to_window(torch.tensor([1.0, 2, 3])))


def test_who_has_a_box_or_no_clicks_hears_nothing_of_clicks_on_others(ball_case: Case) -> None:
    click = Clicks(((1, 2, 3),), (True,))
    previous = np.zeros(ball_case.volume.shape, np.uint8)
    previous[8:10, 20:25, 20:22] = 2
    case = replace(ball_case, boxes=(), clicks=(click, Clicks()), previous=previous)
    boxed = replace(case, boxes=(*ball_case.boxes, None), clicks=(click, click), previous=None)
    assert [t.claims is None for t in resolve_targets(case)[0]] == [False, True]
    assert [t.claims is None for t in resolve_targets(boxed)[0]] == [True, False]


@pytest.mark.parametrize(("lower", "shown"), [(2.4, True), (2.5, True), (2.6, False)])
def test_only_what_a_view_shows_of_the_others_clicks_is_told(lower: float, shown: bool) -> None:
    claims = Claims.of([Clicks(), Clicks(((0, 2, 3),), (True,))])
    view = View((0.0, lower, 0.0), (4.0, 8.0, 9.0), (4, 4, 4))
    assert claims.by_others(1, Clicks(), view) == ([(0, 2, 3)] if shown else [])
    assert claims.by_others(2, Clicks(), view) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 19), st.integers(0, 99), st.integers(0, 79), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_the_first_look_holds_the_foreground_clicks(clicks: list[tuple[int, int, int, bool]]) -> None:
    points = Clicks(tuple(c[:3] for c in clicks), tuple(c[3] for c in clicks))
    case = Case("X", np.zeros((20, 100, 80), np.uint8), None, (), (points,), None, ())
    (target,), _ = resolve_targets(case)
    chosen = [p for p, f in zip(points.points, points.foreground, strict=True) if f] or points.points
    for point in chosen:
        assert all(a <= c < b for a, c, b in zip(target.lower, point, target.upper, strict=True))
    assert all(0 <= a < b <= n for a, b, n in zip(target.lower, target.upper, (20, 100, 80), strict=True))


def test_without_any_prompt_or_on_request_it_is_automatic(ball_case: Case) -> None:
    bare = replace(ball_case, boxes=(), clicks=())
    for case, mode in ((bare, "given"), (ball_case, "auto"), (ball_case, "intensity")):
        targets, warnings = resolve_targets(case, mode)
        assert [t.source for t in targets] == ["automatic"]
        assert not targets[0].exact_z
        assert warnings == []
        lower, upper = targets[0].lower, targets[0].upper
        assert all(a <= b < c for a, b, c in zip(lower, (12, 22, 25), upper, strict=True))


def test_a_class_without_a_prompt_gets_an_automatic_box_and_a_warning(ball_case: Case) -> None:
    case = replace(ball_case, boxes=(None, Box((0, 0, 0), (2, 2, 2), 0)), clicks=())
    targets, warnings = resolve_targets(case)
    assert [(t.index, t.source) for t in targets] == [(1, "automatic"), (2, "box")]
    assert len(warnings) == 1
    assert "CT_ball" in warnings[0]


def test_what_is_found_makes_the_targets_but_for_algorithm_1(ball_case: Case) -> None:
    asked = []

    def find(count: int) -> list[AutomaticBox]:
        asked.append(count)
        return [AutomaticBox(Box((1, 2, 3), (4, 6, 8), 2), "dark", 0.75)]

    bare = replace(ball_case, boxes=(), clicks=())
    for case, mode in ((bare, "given"), (ball_case, "auto")):
        (target,), _ = resolve_targets(case, mode, top=3, find=find)
        assert (target.index, target.source, target.exact_z) == (1, "automatic", False)
        assert (target.lower, target.upper) == ((1, 2, 3), (4, 6, 8))
        assert target.found is not None
        assert target.found.summary() == "dark, 75% sure"
    assert asked == [3, 3]
    (target,), _ = resolve_targets(ball_case, "intensity", top=1, find=find)
    assert target.found is not None
    assert target.found.summary() == "intensity"
    assert asked == [3, 3]


def test_one_box_found_serves_all_classes_without_a_prompt(ball_case: Case) -> None:
    box = Box((1, 2, 3), (4, 6, 8), 2)
    case = replace(ball_case, boxes=(None, box, None), clicks=())
    targets, warnings = resolve_targets(case, find=lambda count: [AutomaticBox(box, "dark", 0.5)])
    assert [t.source for t in targets] == ["automatic", "box", "automatic"]
    assert targets[0].box == targets[2].box == box
    assert len(warnings) == 2


def test_previous_labels_alone_are_the_targets_without_the_gaps(ball_case: Case) -> None:
    previous = np.zeros(ball_case.volume.shape, np.uint16)
    previous[8:10, 20:25, 20:22] = 2
    previous[1, 1, 1] = 300
    targets, warnings = resolve_targets(
        replace(ball_case, boxes=(), clicks=(), previous=previous), strict=True
    )
    assert [(t.index, t.source, t.lower, t.upper) for t in targets] == [
        (2, "previous", (8, 20, 20), (10, 25, 22)),
        (300, "previous", (1, 1, 1), (2, 2, 2)),
    ]
    assert all(t.previous is previous for t in targets)
    assert warnings == []


@pytest.mark.parametrize("top", [0, -1, 2.5, "3"])
def test_a_number_of_targets_that_is_none(ball_case: Case, top: object) -> None:
    with pytest.raises(ValueError, match="give a whole number from 1 on"):
        resolve_targets(ball_case, "auto", top=top)  # type: ignore[arg-type]
    assert resolve_targets(ball_case, "intensity", top=10**20)[0]


def test_empty_previous_labels_alone_say_nothing(ball_case: Case) -> None:
    previous = np.zeros(ball_case.volume.shape, np.uint8)
    targets, warnings = resolve_targets(
        replace(ball_case, boxes=(), clicks=(), previous=previous), strict=True
    )
    assert [(t.index, t.source, t.stand_in) for t in targets] == [(1, "automatic", False)]
    assert warnings == []


def test_a_stand_in_for_an_unreadable_prompt_is_told_and_strictly_refused(ball_case: Case) -> None:
    box = Box((0, 0, 0), (2, 2, 2), 0)
    case = replace(ball_case, boxes=(None, box, None), clicks=(), unreadable=(1, 2))
    targets, warnings = resolve_targets(case)
    assert [(t.source, t.stand_in) for t in targets] == [
        ("automatic", True),
        ("box", False),
        ("automatic", False),
    ]
    assert "CT_ball: class 1: the prompt in the file cannot be read; an automatic box" in warnings[0]
    assert "CT_ball: class 3: it has no prompt; an automatic box" in warnings[1]
    with pytest.raises(CaseError, match="CT_ball: class 1 has a prompt that cannot be read, and no other; "):
        resolve_targets(case, strict=True)
    assert len(resolve_targets(replace(case, unreadable=(2,)), strict=True)[0]) == 3
    assert not resolve_targets(case, "auto", strict=True)[0][0].stand_in


def test_a_file_whose_only_prompts_are_unreadable(ball_case: Case) -> None:
    case = replace(ball_case, boxes=(), clicks=(), unreadable=(1,))
    (target,), warnings = resolve_targets(case)
    assert (target.source, target.stand_in) == ("automatic", True)
    assert len(warnings) == 1
    with pytest.raises(CaseError, match="class 1 has a prompt that cannot be read"):
        resolve_targets(case, strict=True)


@pytest.mark.parametrize("point", [(24, 0, 0), (0, -1, 0), (0, 0, 48)])
def test_a_click_outside_the_volume_is_named(ball_case: Case, point: tuple[int, int, int]) -> None:
    case = replace(ball_case, boxes=(), clicks=(Clicks(((1, 1, 1), point), (True, True)),))
    with pytest.raises(CaseError, match=r"CT_ball: clicks\[0\] has a click at .*, outside the volume"):
        resolve_targets(case)
    with pytest.raises(CaseError, match=r"CT_ball: boxes\[0\]: box .* is outside the volume"):
        resolve_targets(replace(ball_case, boxes=(Box((30, 0, 0), (31, 1, 1), 30),)))


def test_the_most_classes_without_a_prompt_take_no_time(ball_case: Case) -> None:
    count = 65_535
    case = replace(ball_case, boxes=(None,) * count, clicks=(), unreadable=tuple(range(1, count + 1)))
    found = AutomaticBox(Box((1, 2, 3), (4, 6, 8), 2), "dark", 0.5)
    began = time.process_time()
    targets, warnings = resolve_targets(case, find=lambda _: [found])
    assert len(targets) == len(warnings) == count
    assert time.process_time() - began < 20


def test_a_mode_that_there_is_not_is_refused(ball_case: Case) -> None:
    for mode in ("Auto", "", "box"):
        with pytest.raises(ValueError, match=f"prompt is '{mode}': give 'given', 'intensity' or 'auto'"):
            resolve_targets(ball_case, mode)  # type: ignore[arg-type]
