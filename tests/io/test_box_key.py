"""The `boxes` key: what is read, repaired and refused."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from case_files import BOX, SHAPE, VOLUME, Hostile, objects, only_warning, read, zero_dimensional
from lexor.geometry import Box


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"z_min": "3 to 7"}, r"boxes\[1\]\.z_min is '3 to 7', not a number; "),
        ({"z_min": "1" * 41}, r"boxes\[1\]\.z_min is '1{41}', not a number; "),
        ({"z_max": float("nan")}, r"boxes\[1\]\.z_max is nan, "),
        ({"z_max": float("inf")}, r"boxes\[1\]\.z_max is inf, "),
        ({"z_mid_x_min": None}, r"boxes\[1\]\.z_mid_x_min is None, "),
        ({"z_mid_x_min": "nan"}, r"boxes\[1\]\.z_mid_x_min is 'nan', "),
        ({"z_mid_x_min": [5]}, r"boxes\[1\]\.z_mid_x_min is \[5\], "),
        ({"z_mid_x_min": True}, r"boxes\[1\]\.z_mid_x_min is True, "),
        ({"z_min": 8}, r"boxes\[1\]\.z_max is 7, below z_min 8; "),
        ({"z_mid_y_max": 2}, r"boxes\[1\]\.z_mid_y_max is 2, below z_mid_y_min 3; "),
        ({"z_mid_x_min": 30, "z_mid_x_max": 40}, r"boxes\[1\]\.z_mid_x_min is 30, so the box is outside "),
        ({"z_mid_y_min": -9, "z_mid_y_max": -1}, r"boxes\[1\]\.z_mid_y_max is -1, so the box is outside "),
        ({"z_min": 10**4400, "z_max": 10**4400}, r"boxes\[1\]\.z_min is <int>, so the box is outside "),
    ],
)
def test_an_unusable_box_leaves_its_class_without_one(tmp_path: Path, change: dict[str, Any], reason: str):
    case = read(tmp_path, boxes=objects(BOX, BOX | change, BOX))
    good = Box.from_dict(BOX, SHAPE)
    assert case.boxes == (good, None, good)
    assert case.n_classes == 3
    assert case.unreadable == (2,)
    assert re.search(reason, only_warning(case))


@pytest.mark.parametrize("key", [key for key in BOX if key != "z_mid"])
def test_a_missing_bound(tmp_path: Path, key: str):
    case = read(tmp_path, boxes=objects({name: value for name, value in BOX.items() if name != key}))
    assert case.boxes == (None,)
    assert f"boxes[0].{key} is missing; " in only_warning(case)


@pytest.mark.parametrize("entry", [None, {}, 7, "box", [1, 2, 3, 4, 5, 6]])
def test_an_entry_that_is_no_box(tmp_path: Path, entry: Any):
    case = read(tmp_path, boxes=objects(BOX, entry))
    assert case.boxes == (Box.from_dict(BOX, SHAPE), None)
    assert "boxes[1]" in only_warning(case)


def test_a_box_partly_outside_is_clipped_without_a_word(tmp_path: Path):
    loose = BOX | {"z_min": -5, "z_mid": -1, "z_mid_x_max": 30, "z_mid_y_max": 999}
    case = read(tmp_path, boxes=objects(loose))
    assert case.boxes == (Box((0, 3, 5), (8, 20, 30), 0),)
    assert case.warnings == ()


def test_whole_floats_are_integers(tmp_path: Path):
    case = read(tmp_path, boxes=objects({key: float(value) for key, value in BOX.items()}))
    assert case.boxes == (Box.from_dict(BOX, SHAPE),)
    assert case.warnings == ()


@pytest.mark.parametrize(
    ("z_mid", "used", "words"),
    [
        (9, 7, "z_mid is 9, outside z_min..z_max (2..7); the nearest slice"),
        (-4, 2, "z_mid is -4, outside z_min..z_max (2..7); the nearest slice"),
        ("mid", 4, "z_mid is 'mid', not a number; give voxel indices; the middle slice"),
        (float("nan"), 4, "z_mid is nan, "),
        (None, 4, "z_mid is None, "),
    ],
)
def test_a_wrong_z_mid_is_put_right(tmp_path: Path, z_mid: Any, used: int, words: str):
    case = read(tmp_path, boxes=objects(BOX | {"z_mid": z_mid}))
    assert case.boxes == (Box((2, 3, 5), (8, 13, 26), used),)
    assert f"boxes[0].{words}" in only_warning(case)


def test_a_missing_z_mid_is_the_middle_of_what_is_inside(tmp_path: Path):
    without = {key: value for key, value in BOX.items() if key != "z_mid"} | {"z_max": 40}
    case = read(tmp_path, boxes=objects(without))
    assert case.boxes == (Box((2, 3, 5), (10, 13, 26), 5),)
    assert "boxes[0].z_mid is missing; the middle slice is used" in only_warning(case)


@pytest.mark.parametrize("boxes_key", [zero_dimensional([BOX]), zero_dimensional(BOX), objects(BOX)])
def test_ways_to_save_one_box(tmp_path: Path, boxes_key: np.ndarray):
    case = read(tmp_path, boxes=boxes_key)
    assert case.boxes == (Box.from_dict(BOX, SHAPE),)
    assert case.warnings == ()


@pytest.mark.parametrize("boxes_key", [np.array([]), objects(), zero_dimensional(None), zero_dimensional([])])
def test_ways_to_save_no_box(tmp_path: Path, boxes_key: np.ndarray):
    case = read(tmp_path, boxes=boxes_key)
    assert case.boxes == ()
    assert case.warnings == ()


SHIFTED = {key: value + 0.4 for key, value in BOX.items()}


@pytest.mark.parametrize(
    ("entry", "expected", "words"),
    [
        (SHIFTED, Box((2, 3, 5), (9, 14, 27), 4), "z_min is 2.4; the box is widened to whole voxels"),
        (BOX | {"z_max": 6.5}, Box((2, 3, 5), (8, 13, 26), 4), "z_max is 6.5; the box is widened"),
        ({key: str(value) for key, value in BOX.items()}, Box.from_dict(BOX, SHAPE), None),
        (BOX | {"z_min": " 2.0 ", "z_mid": 3.5}, Box.from_dict(BOX, SHAPE), None),
        (BOX | {"z_max": 7 + 1e-6, "z_min": 2 - 1e-6}, Box.from_dict(BOX, SHAPE), None),
        (OrderedDict(BOX), Box.from_dict(BOX, SHAPE), None),
    ],
)
def test_near_misses_are_the_box_they_mean(tmp_path: Path, entry: Any, expected: Box, words: str | None):
    case = read(tmp_path, boxes=objects(entry))
    assert case.boxes == (expected,)
    assert case.unreadable == ()
    if words is None:
        assert case.warnings == ()
    else:
        assert f"boxes[0].{words}" in only_warning(case)


@pytest.mark.parametrize("shape", [(2, 1), (1, 2)])
def test_object_arrays_of_one_row_or_column(tmp_path: Path, shape: tuple[int, int]):
    case = read(tmp_path, boxes=objects(BOX, None).reshape(shape))
    assert case.boxes == (Box.from_dict(BOX, SHAPE), None)
    assert case.unreadable == ()


def test_six_numbers_that_only_one_order_makes_boxes_of(tmp_path: Path):
    """x and y reach beyond the 10 slices, and no order but z_min, y_min, x_min, z_max, y_max, x_max fits both."""
    rows = np.array([[2, 3, 5, 7, 12, 25], [8, 19, 0, 9, 19, 29]])
    case = read(tmp_path, boxes=rows)
    assert case.boxes == (Box((2, 3, 5), (8, 13, 26), 4), Box((8, 19, 0), (10, 20, 30), 8))
    assert "the one order in which such rows are boxes of this volume is taken" in only_warning(case)
    case = read(tmp_path, boxes=rows[:, [2, 1, 0, 5, 4, 3]])
    assert case.boxes == (Box((2, 3, 5), (8, 13, 26), 4), Box((8, 19, 0), (10, 20, 30), 8))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]], "several orders of six numbers make boxes"),
        ([[9, 9, 9, 1, 1, 1], [1, 2, 3, 4, 5, 6]], "no usual order of six numbers makes boxes"),
    ],
)
def test_six_numbers_that_may_be_several_boxes_or_none(tmp_path: Path, rows: list[Any], words: str):
    case = read(tmp_path, boxes=np.array(rows))
    assert case.boxes == (None, None)
    assert case.unreadable == (1, 2)
    warning = only_warning(case)
    assert words in warning
    assert "give one dict per class" in warning
    case = read(tmp_path, boxes=np.array(rows[0]))
    assert (case.boxes, case.unreadable) == ((None,), (1,))


@pytest.mark.parametrize(
    "boxes_key", [np.arange(7), np.float64(3), np.array("text"), zero_dimensional((1, 2))]
)
def test_boxes_that_are_none_at_all(tmp_path: Path, boxes_key: np.ndarray):
    case = read(tmp_path, boxes=boxes_key)
    assert case.boxes == ()
    assert case.unreadable == (1,)
    assert "CT_case.npz: boxes is " in only_warning(case)


def test_boxes_made_to_run_code_do_not(tmp_path: Path):
    trace = tmp_path / "ran"
    case = read(tmp_path, boxes=objects(BOX, Hostile(trace)))
    assert not trace.exists()
    assert np.array_equal(case.volume, VOLUME)
    assert case.boxes == ()
    assert "boxes cannot be read (it asks for 'posix.system'" in only_warning(case)
    pickle.loads(pickle.dumps(Hostile(trace)))  # noqa: S301 - elsewhere it would have run
    assert trace.exists()


def test_too_many_classes_or_warnings_are_not_drowned_in(tmp_path: Path):
    case = read(tmp_path, boxes=objects(*[BOX] * 1000, *[None] * 1000))
    assert len(case.boxes) == 2000
    assert len(case.warnings) == 51
    assert case.warnings[-1] == "CT_case.npz: 950 more warnings are not shown; put these right first"
    case = read(tmp_path, boxes=objects(*[None] * 65536))
    assert case.boxes == ()
    assert "boxes has 65,536 entries" in only_warning(case)
