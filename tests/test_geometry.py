"""Boxes and clicks in voxel coordinates, and the challenge's form of a box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_files import BOX, SHAPE
from lexor.errors import CaseError
from lexor.geometry import Box, Clicks


@st.composite
def boxes(draw: st.DrawFn, low: int = -40, high: int = 40) -> Box:
    lower = [draw(st.integers(low, high)) for _ in range(3)]
    upper = [bound + draw(st.integers(1, 50)) for bound in lower]
    z, y, x = lower
    z_end, y_end, x_end = upper
    return Box((z, y, x), (z_end, y_end, x_end), draw(st.integers(z, z_end - 1)))


shapes = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))


def overlaps(box: Box, shape: tuple[int, int, int]) -> bool:
    return all(
        max(low, 0) < min(high, size) for low, high, size in zip(box.lower, box.upper, shape, strict=True)
    )


@given(boxes(low=0))
def test_box_survives_the_closed_form(box: Box):
    closed = box.to_dict()
    assert closed["z_max"] == box.upper[0] - 1
    assert closed["z_mid_y_min"] == box.lower[1]
    assert closed["z_mid_x_max"] == box.upper[2] - 1
    assert all(type(value) is int for value in closed.values())
    assert Box.from_dict(closed, box.upper) == box
    numpy_form = {key: np.float32(value) for key, value in closed.items()}
    assert Box.from_dict(numpy_form, box.upper).to_dict() == closed


@given(boxes(), shapes)
def test_clipped_box_is_the_part_inside(box: Box, shape: tuple[int, int, int]):
    if not overlaps(box, shape):
        with pytest.raises(CaseError, match="outside the volume"):
            box.clipped(shape)
        with pytest.raises(CaseError, match="outside the volume"):
            Box.from_dict(box.to_dict(), shape)
        return
    clipped = box.clipped(shape)
    assert clipped == clipped.clipped(shape) == Box.from_dict(box.to_dict(), shape)
    for axis in range(3):
        inside = set(range(box.lower[axis], box.upper[axis])) & set(range(shape[axis]))
        assert inside == set(range(clipped.lower[axis], clipped.upper[axis]))
    nearest = min(range(clipped.lower[0], clipped.upper[0]), key=lambda z: abs(z - box.z_mid))
    assert clipped.z_mid == nearest


@given(boxes(low=0), shapes)
def test_slices_and_shape_agree(box: Box, shape: tuple[int, int, int]):
    if overlaps(box, shape):
        clipped = box.clipped(shape)
        assert np.empty(shape)[clipped.slices].shape == clipped.shape


def test_box_facts():
    box = Box.from_dict(BOX, SHAPE)
    assert box == Box((2, 3, 5), (8, 13, 26), 4)
    assert box.shape == (6, 10, 21)
    assert box.centre == (4.5, 7.5, 15.0)
    assert box.to_dict() == BOX
    assert Box((1, 2, 3), (2, 3, 4), 1).centre == (1, 2, 3)
    assert Box.whole((4, 5, 6)) == Box((0, 0, 0), (4, 5, 6), 1)
    assert Box.whole((1, 1, 1)).shape == (1, 1, 1)


def test_box_holds_python_integers():
    box = Box(tuple(np.array([1, 2, 3])), tuple(np.array([4, 5, 6])), np.int64(2))  # type: ignore[arg-type]
    assert {type(value) for value in (*box.lower, *box.upper, box.z_mid)} == {int}


@pytest.mark.parametrize(
    ("lower", "upper", "z_mid", "reason"),
    [
        ((0, 0, 0), (1, 0, 1), 0, "is empty"),
        ((5, 0, 0), (1, 1, 1), 3, "is empty"),
        ((0, 0, 0), (2, 1, 1), 2, "z_mid is 2"),
    ],
)
def test_impossible_boxes(lower: Any, upper: Any, z_mid: int, reason: str):
    with pytest.raises(CaseError, match=reason):
        Box(lower, upper, z_mid)


def test_clicks_need_one_flag_per_point():
    with pytest.raises(CaseError, match="2 points with 1 foreground"):
        Clicks(((0, 0, 0), (1, 1, 1)), (True,))
