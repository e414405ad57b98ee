"""Labels changed part by part are those that a pass over the whole volume gives, whatever is done in which order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexor.geometry import extent
from lexor.inference.canvas import Canvas, hull

SHAPE = (4, 5, 6)
masks = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        np.random.default_rng(seed).random(SHAPE) < np.random.default_rng(seed).choice([0, 0.03, 0.3])
    )
)
steps = st.lists(st.tuples(st.integers(1, 300), masks, st.booleans(), st.booleans()), max_size=8)


@given(steps, st.none() | st.integers(0, 3))
def test_a_canvas_is_as_a_whole_pass_would_leave_it(steps: list, seed: int | None) -> None:
    start = None if seed is None else np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    given_ = None if start is None else start.copy()
    canvas = Canvas(SHAPE, start)
    expected = np.zeros(SHAPE, int) if start is None else start.astype(int)
    history: list[tuple] = []
    for number, mask, keep_1, undo in steps:
        if undo and history:
            change, expected = history.pop()
            canvas.put_back(*change)
        else:
            before = expected.copy()
            wanted = mask & (expected != 1) if keep_1 and number != 1 else mask
            locked = [1] if keep_1 and number != 1 else []
            change = canvas.place(number, mask, extent(mask), locked)
            history.append((change, before))
            expected = np.where(expected == number, 0, expected)
            expected[wanted] = number
        found = np.zeros(SHAPE, int) if canvas.labels is None else canvas.labels
        np.testing.assert_array_equal(found, expected)
        for each in {number, 1, 2}:
            assert canvas.where(each) == extent(expected == each)
            np.testing.assert_array_equal(canvas.mask(each), expected == each)
    while history:
        change, expected = history.pop()
        canvas.put_back(*change)
    if start is None:
        assert canvas.labels is None or not canvas.labels.any()
    else:
        np.testing.assert_array_equal(canvas.labels, given_)
        # What others gave is theirs.
        np.testing.assert_array_equal(start, given_)


def test_a_hull_holds_all_boxes() -> None:
    one, two = (slice(1, 3), slice(4, 5), slice(0, 9)), (slice(2, 7), slice(1, 2), slice(3, 4))
    assert hull([one, None, two]) == (slice(1, 7), slice(1, 5), slice(0, 9))
    assert hull([None]) is None
