from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.geometry import Clicks
from lexor.inference.framing import click_views, frame, in_plane_ratio, normalise
from lexor.inference.settings import SETTINGS, Framing


@st.composite
def boxes_in_volumes(draw: st.DrawFn):
    shape = draw(st.tuples(*[st.integers(1, 60)] * 3))
    lower = tuple(draw(st.integers(0, n - 1)) for n in shape)
    upper = tuple(draw(st.integers(a + 1, n)) for a, n in zip(lower, shape, strict=True))
    return shape, lower, upper


@given(boxes_in_volumes(), st.floats(0.2, 10))
def test_a_view_holds_its_box_and_stays_in_the_volume(case, ratio: float) -> None:
    shape, lower, upper = case
    view = frame(tuple(map(float, lower)), tuple(map(float, upper)), shape, (8, 16, 16), ratio)
    for axis in range(3):
        assert 0 <= view.lower[axis] <= lower[axis] + 1e-6
        assert upper[axis] - 1e-6 <= view.upper[axis] <= shape[axis]
        assert view.upper[axis] - view.lower[axis] >= 1 - 1e-9


def test_factors_and_minimum() -> None:
    framing = Framing(factor_z=2, factor_in_plane=1.5, drift=0, minimum=(0, 0, 50))
    view = frame((40, 40, 40), (50, 60, 60), (100, 100, 100), (8, 8, 8), 1.0, framing)
    assert view.lower == (35, 35, 25)
    assert view.upper == (55, 65, 75)


def test_a_long_object_is_seen_wider_in_plane() -> None:
    framing = Framing(1, 1, 0.25, (0, 0, 0))
    view = frame((0, 45, 45), (40, 55, 55), (40, 100, 100), (8, 8, 8), 2.0, framing)
    # 2 x 0.25 x 40 slices x ratio 2 = 40 pixels more
    assert view.upper[1] - view.lower[1] == pytest.approx(50)


@pytest.mark.parametrize(
    ("spacing", "ratio"),
    [
        ((5.0, 1.0, 1.0), 5.0),
        ((1.0, 1.0, 5.0), 5.0),
        ((2.0, 2.0, 2.0), 1.0),
        (None, 1.0),
        ((1e3, 1, 1), 10.0),
    ],
)
def test_spacing_in_either_order(spacing, ratio: float) -> None:
    assert in_plane_ratio(spacing) == pytest.approx(ratio)


def test_normalise() -> None:
    window = torch.arange(27.0).view(1, 3, 3, 3) * 7 + 3
    out = normalise(window)
    assert float(out.mean()) == pytest.approx(0, abs=1e-5)
    assert float(out.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert float(normalise(torch.full((1, 2, 2, 2), 9.0)).abs().max()) == 0
    spike = torch.zeros(1, 10, 10, 10)
    spike[0, 0, 0, 0] = 255
    assert float(normalise(spike).max()) == 5


@given(boxes_in_volumes(), st.floats(0.2, 10))
def test_the_views_of_clicks_hold_them_and_grow(case, ratio: float) -> None:
    shape, lower, upper = case
    clicks = Clicks((lower, tuple(u - 1 for u in upper)), (True, True))
    views = click_views(clicks, shape, (8, 16, 16), ratio)
    assert 1 <= len(views) <= len(SETTINGS.searching.views)
    for axis in range(3):
        for view in views:
            assert 0 <= view.lower[axis] <= lower[axis]
            assert upper[axis] <= view.upper[axis] <= shape[axis]
        for small, large in pairwise(views):
            assert large.lower[axis] <= small.lower[axis]
            assert small.upper[axis] <= large.upper[axis]
    assert len(set(views)) == len(views), "no view is looked at twice"


def test_background_clicks_do_not_widen_the_view() -> None:
    clicks = Clicks(((20, 50, 50), (20, 90, 90)), (True, False))
    small = click_views(clicks, (40, 100, 100), (8, 16, 16))[0]
    assert (small.lower[1], small.upper[1]) == (38.5, 62.5)
    only = click_views(Clicks(((20, 90, 90),), (False,)), (40, 100, 100), (8, 16, 16))[0]
    assert (only.lower[1], only.upper[1]) == (78.5, 100)
