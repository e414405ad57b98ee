"""Prompts in a window: shapes, selection, confinement."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.models.window_prompts import WindowPrompts


def make() -> WindowPrompts:
    return WindowPrompts.build(
        boxes=[(0, 1, 2, 4, 6, 9), None, (1, 1, 1, 3, 3, 3)],
        points=[[], [(1, 2, 3), (4, 5, 6)], [(7, 8, 9)]],
        labels=[[], [1, 0], [0]],
        previous=torch.arange(3.0)[:, None, None, None, None].expand(3, 1, 2, 2, 2),
    )


def test_build_pads_points_and_marks_missing_boxes() -> None:
    prompts = make()
    assert len(prompts) == 3
    assert prompts.has_box.tolist() == [True, False, True]
    assert prompts.labels.tolist() == [[-1, -1], [1, 0], [0, -1]]
    assert prompts.points[1].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert prompts.z_mid.tolist() == [1.5, 0, 1.5]


def test_build_without_points_has_none() -> None:
    prompts = WindowPrompts.build(boxes=[(0, 0, 0, 1, 1, 1)], z_mid=[0])
    assert prompts.points.shape == (1, 0, 3)
    assert prompts.labels.shape == (1, 0)
    assert prompts.previous is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "lists of"),
        ({"boxes": [None], "z_mid": [0.0, 1.0]}, "lists of"),
        ({"points": [[(1, 2, 3)]]}, "labels with points"),
        ({"points": [[(1, 2, 3)]], "labels": [[1, 0]]}, "1 points, 2 labels"),
        ({"boxes": [(1, 2, 3)]}, "six values"),
        ({"boxes": [(0, 0, 0, 1, 1, math.inf)]}, "not finite"),
        ({"points": [[(0, math.nan, 0)]], "labels": [[1]]}, "not finite"),
    ],
)
def test_build_refuses(arguments: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowPrompts.build(**arguments)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("boxes", torch.zeros(3, 4), r"boxes has shape \(3, 4\), should have \(3, 6\)"),
        ("z_mid", torch.zeros(2), r"z_mid has shape \(2,\), should have \(3,\)"),
        ("points", torch.zeros(3, 2, 2), r"points has shape \(3, 2, 2\), should have \(3, 2, 3\)"),
        ("labels", torch.zeros(3, 1, dtype=torch.int64), r"labels has shape \(3, 1\), should have \(3, 2\)"),
        ("labels", torch.zeros(3, 2), r"labels is torch.float32, should be torch.int64"),
        ("boxes", torch.zeros(3, 6).double(), r"boxes is torch.float64, should be torch.float32"),
        (
            "previous",
            torch.zeros(3, 2, 2, 2),
            r"previous has shape \(3, 2, 2, 2\), should have \(3, 1, d, h, w\)",
        ),
    ],
)
def test_shapes_and_dtypes_are_checked(field: str, value: torch.Tensor, message: str) -> None:
    fields = {**vars(make()), field: value}
    with pytest.raises(ValueError, match=message):
        WindowPrompts(**fields)


def test_to_moves_every_tensor() -> None:
    moved = make().to("meta")
    assert moved.previous is not None
    assert all(tensor.is_meta for tensor in vars(moved).values())


coordinate = st.floats(-50, 50, width=32)


@given(st.lists(coordinate, min_size=6, max_size=6), st.lists(coordinate, min_size=3, max_size=3))
def test_confined_prompts_lie_in_the_window(corners: list[float], point: list[float]) -> None:
    lower = [min(corners[a], corners[a + 3]) for a in range(3)]
    upper = [max(corners[a], corners[a + 3]) for a in range(3)]
    window = (8, 10, 12)
    prompts = WindowPrompts.build(boxes=[lower + upper, None], points=[[point], []], labels=[[1], []])
    confined = prompts.confined(window)
    for axis, size in enumerate(window):
        first, last = confined.boxes[0, axis].item(), confined.boxes[0, axis + 3].item()
        assert 0 <= first <= last <= size
        if 0 <= lower[axis] <= size:
            assert first == lower[axis]
        if 0 <= upper[axis] <= size:
            assert last == upper[axis]
    assert confined.has_box.tolist() == [True, False]
    inside = all(-0.5 <= p < n - 0.5 for p, n in zip(point, window, strict=True))
    assert confined.labels[0, 0].item() == (1 if inside else -1)
    # The original is left alone.
    assert prompts.labels[0, 0].item() == 1
