"""Conversion both ways: a round trip loses no voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.geometry import Box
from lexor.inference.batch import find_sources
from lexor.inference.convert import Conversion, convert_files
from lexor.io.case import read_case, read_labels, write_segmentation
from lexor.io.given import GivenPrompts
from lexor.io.reading import Reading
from lexor.io.scan import read_mask, read_scan, write_labels
from lexor.io.scans.label_maps import ENDINGS, write_volume
from scan_files import affine, blobs, scan, voxels, write_series

WHERE = affine(angles=(5, -8, 30), signs=(-1, 1, 1))


def convert(source: Path, output: Path, **how: Any) -> str:
    """The summary of one conversion that works."""
    (done,) = convert_files(find_sources(source), output, Conversion(**how))
    assert done.error is None, done.error
    return done.summary()


def test_from_a_scan_to_a_case_and_its_answer_back_onto_the_scan(tmp_path: Path) -> None:
    write_volume(tmp_path / "CT_a.nii.gz", scan(where=WHERE), "nifti")
    write_labels(tmp_path / "truth.nii.gz", blobs(), scan(where=WHERE), "nifti")
    reading = Reading(prompts=GivenPrompts(boxes=("1,2,3,4,6,8",), clicks=("2,3,5",)))
    line = convert(
        tmp_path / "CT_a.nii.gz", tmp_path / "cases", reading=reading, truth=tmp_path / "truth.nii.gz"
    )
    assert line == f"CT_a.nii.gz: 6x8x10, case with boxes, clicks, truth: {tmp_path}/cases/CT_a.npz"
    case = read_case(tmp_path / "cases" / "CT_a.npz")
    assert case.warnings == ()
    assert case.boxes == (Box((1, 2, 3), (5, 7, 9), 2),)
    assert case.clicks[0].points == ((2, 3, 5),)
    assert case.spacing == pytest.approx((3, 0.8, 0.7), rel=1e-5)
    np.testing.assert_array_equal(read_labels(tmp_path / "cases" / "CT_a.npz"), blobs())
    expected = np.rint((np.clip(voxels().astype(float), -160, 240) + 160) / 400 * 255)
    np.testing.assert_allclose(case.volume, expected, atol=1)

    write_segmentation(tmp_path / "answer.npz", blobs())
    convert(tmp_path / "answer.npz", tmp_path / "back.nii.gz", like=tmp_path / "CT_a.nii.gz")
    convert(tmp_path / "cases" / "CT_a.npz", tmp_path / "own.nii.gz", labels=True)
    for name in ("back", "own"):
        image = nib.load(tmp_path / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, blobs())
        np.testing.assert_allclose(image.affine, nib.load(tmp_path / "CT_a.nii.gz").affine, atol=1e-4)


def test_a_case_becomes_a_scan_and_again_the_same_case(tmp_path: Path) -> None:
    uint8 = np.random.default_rng(0).integers(0, 256, (6, 8, 10), dtype=np.uint8)
    np.savez(tmp_path / "CT_a.npz", imgs=uint8, spacing=(3, 0.8, 0.7), gts=blobs())
    for format in ("nifti", "nrrd", "mha"):
        place = tmp_path / f"CT_a{ENDINGS[format]}"
        convert(tmp_path / "CT_a.npz", place)
        convert(place, tmp_path / format / "CT_a.npz")
        case = read_case(tmp_path / format / "CT_a.npz")
        np.testing.assert_array_equal(case.volume, uint8)
        assert case.spacing == pytest.approx((3, 0.8, 0.7), rel=1e-6)


@pytest.mark.parametrize("format", ["nifti", "nrrd", "mha", "tiff"])
def test_an_image_keeps_its_values_and_its_place_in_every_format(format: Any, tmp_path: Path) -> None:
    write_series(tmp_path / "a", where=WHERE)
    convert(tmp_path / "a", tmp_path / "out", format=format)
    found = read_scan(tmp_path / "out" / f"a{ENDINGS[format]}")
    np.testing.assert_array_equal(
        found.voxels, voxels()[::-1]
    )  # slices of a series are in the order of the normal
    if format != "tiff":
        np.testing.assert_allclose(found.affine, read_scan(tmp_path / "a").affine, atol=1e-3)
    else:
        assert found.spacing == pytest.approx((3, 0.8, 0.7))


def test_labels_go_from_any_format_to_any_other(tmp_path: Path) -> None:
    write_series(tmp_path / "a", where=WHERE)
    series = read_scan(tmp_path / "a")
    write_labels(tmp_path / "l.nii.gz", blobs(), series, "nifti")
    convert(
        tmp_path / "l.nii.gz", tmp_path / "l.seg.dcm", like=tmp_path / "a", reading=Reading(names=("Liver",))
    )
    convert(tmp_path / "l.seg.dcm", tmp_path / "l.nrrd")  # on the slices that have labels
    convert(tmp_path / "l.nrrd", tmp_path / "l.mha", labels=True, like=tmp_path / "a")
    convert(tmp_path / "l.mha", tmp_path / "l.rtstruct.dcm", like=tmp_path / "a")
    convert(tmp_path / "l.mha", tmp_path / "l.npz", labels=True)
    for name in ("l.seg.dcm", "l.nrrd", "l.mha", "l.npz"):
        np.testing.assert_array_equal(read_mask(tmp_path / name, series)[0], blobs())
    assert read_mask(tmp_path / "l.seg.dcm", series)[1] == {1: "Liver", 2: "object 2"}
    assert np.load(tmp_path / "l.npz").files == ["segs"]


def test_what_cannot_be_converted_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_segmentation(tmp_path / "in" / "answer.npz", blobs())
    write_volume(tmp_path / "in" / "b.nii.gz", scan(), "nifti")
    (tmp_path / "in" / "c.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    np.savez(tmp_path / "out" / "b.npz", imgs=blobs())
    done = list(convert_files(find_sources(tmp_path / "in"), tmp_path / "out", Conversion(format="nifti")))
    assert [one.error is None for one in done] == [False, True, False]
    assert "an answer does not say where it lies; give its scan by --like" in done[0].summary()
    with pytest.raises(CaseError, match=r"b\.npz: is a challenge case .*only answers are replaced"):
        list(convert_files([tmp_path / "in" / "b.nii.gz"], tmp_path / "out", Conversion()))
    with pytest.raises(CaseError, match="--like and --truth are of one scan, and there are 3; give one"):
        list(convert_files(find_sources(tmp_path / "in"), tmp_path / "x", Conversion(truth=tmp_path)))
    reading = Reading(prompts=GivenPrompts(boxes=("0,0,0,1,1,1",)))
    (bad,) = convert_files([tmp_path / "in" / "b.nii.gz"], tmp_path / "x.mha", Conversion(reading=reading))
    assert "mha has no place for prompts or labels; give --format npz" in bad.summary()
    assert not (tmp_path / "x.mha").exists()
