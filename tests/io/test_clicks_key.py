"""The `clicks` and `clicks_order` keys: what is read, repaired and refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from case_files import BOX, objects, only_warning, read
from lexor.geometry import Clicks
from lexor.io.case import Case


def read_one(directory: Path, clicks: Any, order: Any = None) -> Case:
    keys = {} if order is None else {"clicks_order": objects(order)}
    return read(directory, clicks=objects(clicks), **keys)


A, B, C = [1, 2, 3], [4, 5, 6], [7, 8, 9]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, [(A, True), (B, True), (C, False)]),
        (["fg", "bg", "fg"], [(A, True), (C, False), (B, True)]),
        ([None, "bg", None, "fg", "fg"], [(C, False), (A, True), (B, True)]),
        (np.array(["bg", "fg", "fg"]), [(C, False), (A, True), (B, True)]),
        (("bg", "fg", "fg"), [(C, False), (A, True), (B, True)]),
    ],
)
def test_order_of_clicks(tmp_path: Path, order: Any, expected: list[tuple[list[int], bool]]):
    case = read_one(tmp_path, {"fg": [A, B], "bg": [C]}, order)
    assert [
        (list(point), flag)
        for point, flag in zip(case.clicks[0].points, case.clicks[0].foreground, strict=True)
    ] == expected
    assert case.warnings == ()
    assert case.boxes == ()
    assert case.n_classes == 1


@pytest.mark.parametrize(
    "order", [["fg"], ["fg", "bg", "bg"], ["fg", "fg", "bg", "fg"], ["fg", "fg", "x"], [], "fg", 3]
)
def test_an_order_that_does_not_fit_is_ignored(tmp_path: Path, order: Any):
    case = read_one(tmp_path, {"fg": [A, B], "bg": [C]}, order)
    assert case.clicks == (Clicks(((1, 2, 3), (4, 5, 6), (7, 8, 9)), (True, True, False)),)
    assert "clicks_order[0] is " in only_warning(case)


def test_an_order_of_too_few_classes(tmp_path: Path):
    two = objects({"fg": [A], "bg": []}, {"fg": [], "bg": [B]}, {"fg": [], "bg": []})
    case = read(tmp_path, clicks=two, clicks_order=objects(["fg"]))
    assert case.clicks == (Clicks(((1, 2, 3),), (True,)), Clicks(((4, 5, 6),), (False,)), Clicks())
    assert "clicks_order[1] is [], but there are 0 fg and 1 bg clicks; " in only_warning(case)


def test_orders_saved_as_plain_arrays(tmp_path: Path):
    case = read(tmp_path, clicks=objects({"fg": [A], "bg": [B]}), clicks_order=[["bg", "fg"]])
    assert case.clicks[0].foreground == (False, True)
    case = read(tmp_path, clicks=objects({"fg": [], "bg": []}), clicks_order=[[]])
    assert case.clicks == (Clicks(),)
    assert case.warnings == ()


def test_a_single_class_without_its_lists(tmp_path: Path):
    alone = np.array({"fg": [A], "bg": [B]}, dtype=object)
    case = read(tmp_path, clicks=alone, clicks_order=["bg", "fg"])
    assert case.clicks == (Clicks(((4, 5, 6), (1, 2, 3)), (False, True)),)
    assert case.warnings == ()


@pytest.mark.parametrize(
    "entry",
    [
        {"fg": [A, B]},
        {"fg": (tuple(A), np.array(B)), "bg": None},
        {"fg": np.array([A, B]), "bg": np.empty((0, 3))},
        {"fg": [[1.0, 2.0, 3.0], [np.float32(4), np.int8(5), np.uint16(6)]], "bg": [], "stray": 1},
    ],
)
def test_ways_to_save_clicks(tmp_path: Path, entry: Any):
    case = read_one(tmp_path, entry)
    assert case.clicks == (Clicks(((1, 2, 3), (4, 5, 6)), (True, True)),)
    assert case.warnings == ()


@pytest.mark.parametrize(
    "bad",
    [
        [10, 0, 0],
        [0, -1, 0],
        [0, 0, 30],
        [-0.6, 0, 0],
        [9.5, 0, 0],
        [True, 0, 0],
        [float("nan"), 0, 0],
        [1, 2],
        [1, 2, 3, 4],
        5,
        None,
        "abc",
    ],
)
def test_an_unusable_click_is_dropped_and_the_order_kept(tmp_path: Path, bad: Any):
    case = read_one(tmp_path, {"fg": [A, bad, B], "bg": [C]}, ["fg", "fg", "bg", "fg"])
    assert case.clicks == (Clicks(((1, 2, 3), (7, 8, 9), (4, 5, 6)), (True, False, True)),)
    warning = only_warning(case)
    assert "clicks[0].fg[1] is " in warning
    assert warning.endswith("this click is ignored")


@pytest.mark.parametrize("clicks_key", [np.arange(3), np.zeros((2, 3)), np.array("x"), np.float32(1)])
def test_clicks_that_are_none_at_all(tmp_path: Path, clicks_key: np.ndarray):
    case = read(tmp_path, clicks=clicks_key, boxes=objects(BOX))
    assert case.clicks == ()
    assert len(case.boxes) == 1
    assert "CT_case.npz: clicks is " in only_warning(case)


@pytest.mark.parametrize("entry", [None, [A], {"fg": 3, "bg": []}, {"fg": "ab"}])
def test_an_entry_that_is_no_clicks(tmp_path: Path, entry: Any):
    case = read(tmp_path, clicks=objects({"fg": [A], "bg": []}, entry))
    assert case.clicks == (Clicks(((1, 2, 3),), (True,)), Clicks())
    assert "clicks[1]" in only_warning(case)


def test_an_order_that_is_no_list(tmp_path: Path):
    case = read(tmp_path, clicks=objects({"fg": [A], "bg": []}), clicks_order=np.array("fg"))
    assert case.clicks == (Clicks(((1, 2, 3),), (True,)),)
    assert "clicks_order is 'fg'; " in only_warning(case)


def test_one_list_shared_by_many_classes_is_refused(tmp_path: Path):
    shared = {"fg": [A] * 2000, "bg": []}
    case = read(tmp_path, clicks=objects(*[shared] * 2000))
    assert case.clicks == ()
    assert "clicks has 4,000,000 clicks; give at most 100,000" in only_warning(case)


@pytest.mark.parametrize(
    ("points", "expected", "words"),
    [
        ([[8.3, 14.5, -0.4]], (8, 15, 0), "clicks[0].fg[0] is [8.3, 14.5, -0.4]; its nearest voxel is taken"),
        ([8, 14, 14], (8, 14, 14), None),
        ([[8, "14", "1e1"]], (8, 14, 10), None),
        (np.array([8.0, 14.0, 14.0]), (8, 14, 14), None),
    ],
)
def test_near_misses_are_the_click_they_mean(
    tmp_path: Path, points: Any, expected: tuple[int, int, int], words: str | None
):
    case = read_one(tmp_path, {"fg": points, "bg": []}, ["fg"])
    assert case.clicks == (Clicks((expected,), (True,)),)
    assert case.unreadable == ()
    if words is None:
        assert case.warnings == ()
    else:
        assert words in only_warning(case)


@pytest.mark.parametrize("shape", [(2, 1), (1, 2)])
def test_object_arrays_of_one_row_or_column(tmp_path: Path, shape: tuple[int, int]):
    clicks = objects({"fg": [A], "bg": [B]}, {"fg": [], "bg": []}).reshape(shape)
    case = read(tmp_path, clicks=clicks, clicks_order=objects(["bg", "fg"], []).reshape(shape))
    assert case.clicks == (Clicks(((4, 5, 6), (1, 2, 3)), (False, True)), Clicks())
    assert case.warnings == ()


@pytest.mark.parametrize(
    ("entry", "unreadable"),
    [
        ({"fg": [[99, 0, 0]], "bg": []}, (2,)),
        ({"fg": [[99, 0, 0], A]}, ()),
        ({"fg": 7}, (2,)),
        ({"foreground": [A]}, (2,)),
        ("here", (2,)),
        ({}, ()),
        ({"fg": [], "bg": None}, ()),
        (None, ()),
    ],
)
def test_classes_whose_clicks_cannot_be_read(tmp_path: Path, entry: Any, unreadable: tuple[int, ...]):
    case = read(tmp_path, clicks=objects({"fg": [A]}, entry))
    assert case.unreadable == unreadable


def test_lists_that_many_classes_share_take_no_time(tmp_path: Path):
    """A few kB would otherwise keep the reader busy for hours: the pickle holds each shared value once."""
    order = [None] * 400_000
    wide = {"fg": [A], **{f"key {i}": [None] * 40 for i in range(20_000)}}
    began = time.process_time()
    case = read(tmp_path, clicks=objects(*[wide] * 5000), clicks_order=objects(*[order] * 5000))
    assert case.clicks == (Clicks(((1, 2, 3),), (True,)),) * 5000
    assert "clicks_order has 2,000,000,000 entries; " in only_warning(case)
    strange = [{f"key {i}": 1 for i in range(100_000)}, b"x" * 1_000_000]
    case = read(tmp_path, clicks=objects({"fg": [A]}, *[strange] * 30_000))
    assert len(case.clicks) == 30_001
    assert time.process_time() - began < 20
