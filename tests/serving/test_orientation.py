"""The axes of the browser: volumes, voxels and boxes are turned to the patient's, and back, without a loss."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lexor.serving.orientation import Orientation

SHAPE = (3, 4, 5)
VOLUME = np.arange(np.prod(SHAPE)).reshape(SHAPE)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any order of axes, any of them backwards, oblique by up to 40 degrees, with steps and an origin."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    angles = draw(st.lists(st.floats(-20, 20), min_size=3, max_size=3))
    steps = draw(st.lists(st.floats(0.3, 6), min_size=3, max_size=3))
    found = np.eye(4)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    found[:3, :3] = turned @ np.eye(3)[:, order] * signs * steps
    found[:3, 3] = draw(st.lists(st.floats(-300, 300), min_size=3, max_size=3))
    return found


@given(affines())
def test_every_voxel_is_where_it_was(affine: np.ndarray) -> None:
    seen = Orientation.of(SHAPE, affine)
    turned = seen.to_view(VOLUME)
    assert turned.shape == seen.view_shape[::-1]
    assert turned.flags.c_contiguous
    for z, y, x in np.ndindex(turned.shape):
        voxel = seen.voxel((x, y, z))
        assert turned[z, y, x] == VOLUME[voxel]
        assert seen.seen(voxel) == (x, y, z)
        there = np.array(seen.affine) @ (x, y, z, 1)
        np.testing.assert_allclose(there, affine @ (*voxel[::-1], 1), atol=1e-9)
    many = np.array(list(np.ndindex(seen.view_shape)))
    assert [tuple(each) for each in seen.voxels(many)] == [seen.voxel(tuple(each)) for each in many]


@given(affines())
def test_axes_run_right_forward_and_up(affine: np.ndarray) -> None:
    seen = Orientation.of(SHAPE, affine)
    directions = np.array(seen.affine)[:3, :3] / seen.spacing
    assert (np.diag(directions) > 0.5).all()
    np.testing.assert_allclose(sorted(seen.spacing), sorted(np.linalg.norm(affine[:3, :3], axis=0)))


@given(affines(), st.data())
def test_boxes_hold_the_same_voxels(affine: np.ndarray, data: st.DataObject) -> None:
    seen = Orientation.of(SHAPE, affine)
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, n - 1)] * 2))) for n in seen.view_shape]
    first, last = tuple(low for low, _ in ends), tuple(high for _, high in ends)
    lower, upper = seen.corners(first, last)
    inside = {seen.voxel(at) for at in itertools.product(*(range(low, high + 1) for low, high in ends))}
    assert inside == set(itertools.product(*(range(a, b) for a, b in zip(lower, upper, strict=True))))
    assert seen.seen_corners(lower, upper) == (first, last)
    assert seen.corners(last, first) == (lower, upper)


def test_a_scan_as_most_are_is_turned_by_half() -> None:
    # To the left, to the back, up: an axial CT.
    seen = Orientation.of((30, 20, 10), np.diag([-0.5, -0.7, 3.0, 1.0]))
    assert (seen.axes, seen.flipped, seen.spacing) == ((2, 1, 0), (True, True, False), (0.5, 0.7, 3.0))
    assert seen.voxel((0, 0, 4)) == (4, 19, 9)
