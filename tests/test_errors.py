"""What messages look like."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lexor.errors import CaseError, Notes, printable, shown


def test_values_are_shown_short_and_on_one_line():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("a\nb" * 1000, list(range(10**5)), 10**5000, deep, np.eye(3)):
        assert len(shown(value)) < 200
        assert "\n" not in shown(value)


def test_notes_are_named_and_limited():
    notes = Notes()
    for index in range(Notes.limit + 7):
        notes.append(f"line {index}")
    lines = notes.lines("c.npz")
    assert lines[0] == "c.npz: line 0"
    assert lines[Notes.limit :] == ("c.npz: 7 more warnings are not shown; put these right first",)


def test_control_characters_become_escapes():
    evil = "a\x1b[31m\n\u202eb\udcff"
    assert printable(evil) == "a\\x1b[31m\\n\\u202eb\\udcff"
    assert str(CaseError(evil)) == printable(evil)
    assert printable("plain é") == "plain é"


def test_large_values_are_shown_as_fast_as_small_ones():
    large = {f"{i}": b"x" * 1000 for i in range(100_000)}, b"y" * 10_000_000
    began = time.process_time()
    for _ in range(2000):
        assert len(shown(large)) < 400
    assert time.process_time() - began < 5
