import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lexor.errors import CaseError
from lexor.evaluation.statistics import (
    PEAK_RADIUS,
    ClassStatistics,
    columns,
    statistics_of,
    suv_peak,
    write_statistics,
)


def test_a_block_is_measured() -> None:
    voxels = np.zeros((6, 8, 10), np.int16)
    labels = np.zeros(voxels.shape, np.uint8)
    labels[1:3, 2:5, 3:7] = 2
    voxels[1:3, 2:5, 3:7] = np.arange(24).reshape(2, 3, 4) - 1000
    (found,) = statistics_of(voxels, labels, (2.0, 1.5, 0.5), "HU", {2: "liver"})
    assert (found.label, found.name, found.voxels, found.unit) == (2, "liver", 24, "HU")
    assert found.volume_ml == pytest.approx(24 * 1.5 / 1000)
    assert found.mean == pytest.approx(-988.5)
    assert found.sd == pytest.approx(np.arange(24).std())
    assert (found.minimum, found.maximum) == (-1000, -977)
    assert found.lower == (1, 2, 3)
    assert found.upper == (2, 4, 6)
    assert found.extent_mm == (4.0, 4.5, 2.0)
    assert not found.touches_border
    assert found.components == 1
    assert found.peak is None


def test_pieces_that_share_a_corner_are_one_component_and_a_face_of_the_volume_is_its_border() -> None:
    labels = np.zeros((4, 4, 4), np.uint16)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[3, 3, 3] = 300
    (found,) = statistics_of(labels, labels, None)
    assert (found.components, found.touches_border, found.volume_ml, found.extent_mm) == (2, True, None, None)


def test_a_named_class_that_is_empty_has_a_row() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 3
    empty, other = statistics_of(labels, labels, (1, 1, 1), names={1: "lesion"})
    assert empty == ClassStatistics(1, "lesion", 0, 0.0, "")
    assert (other.label, other.name) == (3, "class 3")
    assert statistics_of(labels * 0, labels * 0, None) == []


def test_voxels_that_are_not_finite_do_not_count() -> None:
    voxels = np.array([[[1.0, np.nan, 3.0, np.inf]]])
    (found,) = statistics_of(voxels, np.ones(voxels.shape, np.uint8), (1, 1, 1))
    assert (found.mean, found.maximum, found.voxels) == (2.0, 3.0, 4)
    (none,) = statistics_of(voxels * np.nan, np.ones(voxels.shape, np.uint8), (1, 1, 1), peak=True)
    assert (none.mean, none.maximum, none.peak) == (None, None, None)


def test_a_voxel_of_slanting_axes_has_the_volume_that_it_has() -> None:
    labels = np.ones((2, 2, 2), np.uint8)
    (found,) = statistics_of(labels, labels, (2, 1, 1), voxel_mm3=1.9)
    assert found.volume_ml == pytest.approx(8 * 1.9 / 1000)
    assert found.extent_mm == (4, 2, 2)


def test_labels_that_cannot_be_are_refused() -> None:
    voxels = np.zeros((2, 2, 2))
    with pytest.raises(ValueError, match=r"labels have shape \(1, 2, 2\)"):
        statistics_of(voxels, np.zeros((1, 2, 2), np.int64), None)
    for wrong in (-1, 70_000):
        with pytest.raises(ValueError, match=r"give 0\.\.65535"):
            statistics_of(voxels, np.full((2, 2, 2), wrong), None)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(st.floats(1.5, 7), st.floats(1.5, 7), st.floats(1.5, 7)),
)
def test_the_peak_is_the_highest_mean_over_a_sphere_of_a_millilitre(
    seed: int, spacing: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(seed)
    voxels = rng.gamma(2.0, size=(5, 7, 6)).astype(np.float32)
    mask = rng.random(voxels.shape) < 0.2
    mask[2, 3, 3] = True
    middles = np.argwhere(np.ones(voxels.shape)) * spacing
    means = [
        voxels.ravel()[((middles - middle) ** 2).sum(1) <= PEAK_RADIUS**2].mean()
        for middle in np.argwhere(mask) * spacing
    ]
    assert suv_peak(voxels, mask, spacing) == pytest.approx(max(means), rel=1e-5)
    (found,) = statistics_of(voxels, mask.astype(np.uint8), spacing, "SUV", peak=True)
    assert found.peak == pytest.approx(max(means), rel=1e-5)


def test_a_peaks_sphere_is_a_millilitre_and_no_larger_than_the_volume() -> None:
    assert 4 / 3 * math.pi * PEAK_RADIUS**3 == pytest.approx(1000)
    voxels = np.arange(27.0).reshape(3, 3, 3)
    assert suv_peak(voxels, voxels == 26, (1e-6, 1e-6, 1e-6)) == pytest.approx(13)
    assert suv_peak(voxels, voxels == 26, (50, 50, 50)) == pytest.approx(26)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_volumes_add_up_and_every_box_is_its_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, (4, 5, 6)).astype(np.int64) * 7
    found = statistics_of(labels, labels, (1.0, 2.0, 3.0))
    assert [one.label for one in found] == [n for n in (7, 14, 21, 28) if (labels == n).any()]
    assert sum(one.volume_ml or 0 for one in found) == pytest.approx(np.count_nonzero(labels) * 6 / 1000)
    for one in found:
        assert one.mean == one.minimum == one.maximum == one.label
        where = np.argwhere(labels == one.label)
        assert (one.lower, one.upper) == (tuple(where.min(0)), tuple(where.max(0)))
        assert one.components == ndimage.label(labels == one.label, np.ones((3, 3, 3)))[1]


def test_rows_are_written_as_csv_and_json(tmp_path: Path) -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 1
    rows = [
        one.row("CT_a") for one in statistics_of(labels, labels, (1, 1, 1 / 3), "HU", {2: "=cmd|' /C calc'"})
    ]
    write_statistics(tmp_path / "s.csv", rows)
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == columns()
    assert first["volume_ml"] == "0.000333333"
    assert (first["case"], first["touches_border"], first["peak"], first["z_min"]) == ("CT_a", "no", "", "1")
    assert second["name"] == "'=cmd|' /C calc'"
    assert second["mean"] == ""
    write_statistics(tmp_path / "s.JSON", rows)
    assert json.loads((tmp_path / "s.JSON").read_text("utf-8")) == rows
    with pytest.raises(CaseError, match=r"ends in \.csv or \.json"):
        write_statistics(tmp_path / "s.txt", rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.JSON", "s.csv"]
