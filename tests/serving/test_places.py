"""Where clients point, in voxels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexor.errors import CaseError
from lexor.serving.guard import is_loopback
from lexor.serving.places import drawn_box, part, spacing


@pytest.mark.parametrize(
    ("drawn", "lower", "upper"),
    [
        # Slicer: whole numbers, half-open.
        ([[4, 5], [10, 20], [0, 7]], (4, 10, 0), (5, 20, 7)),
        # napari: a slice, and where the mouse was; pixel 20's middle is at 20.0.
        ([[12.0, 13.0], [9.7, 20.3], [0.2, 6.9]], (12, 10, 1), (13, 21, 7)),
        # A slice between two is the nearer one, as napari shows it.
        ([[12.4, 13.4], [9.7, 20.3], [0.2, 6.9]], (12, 10, 1), (13, 21, 7)),
        ([[11.9999, 12.9999], [9.0001, 20.0], [-3.0, 6.9]], (12, 9, -3), (13, 20, 7)),
        # Less than a voxel: one at least.
        ([[3, 4], [9.2, 9.4], [5.5, 6.5]], (3, 10, 6), (4, 11, 7)),
    ],
)
def test_a_drawn_box_has_the_voxels_whose_middle_is_in_it(
    drawn: list[list[float]], lower: tuple[int, ...], upper: tuple[int, ...]
) -> None:
    assert drawn_box(drawn) == (lower, upper)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 50)), min_size=3, max_size=3))
def test_whole_numbers_stay(pairs: list[tuple[int, int]]) -> None:
    box = [[low, low + size] for low, size in pairs]
    assert drawn_box(box) == (tuple(low for low, _ in box), tuple(high for _, high in box))


def test_a_part_is_inside() -> None:
    assert part(None, (3, 4, 5), "it") == (slice(0, 3), slice(0, 4), slice(0, 5))
    assert part([[0, 3], [1.0, 2.0], [4, 5]], (3, 4, 5), "it") == (slice(0, 3), slice(1, 2), slice(4, 5))
    for bad in ([[0, 4], [0, 1], [0, 1]], [[0, 1], [-1, 1], [0, 1]], [[0, 0.5], [0, 1], [0, 1]]):
        with pytest.raises(CaseError, match="inside it"):
            part(bad, (3, 4, 5), "it")


def test_lengths_count_without_their_sign() -> None:
    assert spacing([2.0, -1.0, 1], (3, 4, 5)) == (2, 1, 1)
    assert spacing(None, (3, 4, 5)) is None
    assert spacing([0.5, 0.25], (1, 4, 5)) == (1, 0.5, 0.25)
    with pytest.raises(CaseError, match="3 numbers"):
        spacing([0.5, 0.25], (2, 4, 5))


def test_which_hosts_are_this_machine() -> None:
    for own in ("127.0.0.1", "127.8.9.1", "localhost", "LocalHost.", "::1", "[::1]"):
        assert is_loopback(own)
    for other in ("0.0.0.0", "::", "192.168.0.1", "localhost.example", "", "127.0.0.1.example", "0"):
        assert not is_loopback(other)
