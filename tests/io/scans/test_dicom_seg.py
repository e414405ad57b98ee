"""DICOM segmentations: read again by highdicom and by dcmqi, voxel for voxel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import legacy
from hypothesis import given, settings
from pydicom.uid import generate_uid

from lexor.errors import CaseError
from lexor.io.scan import Scan, read_mask, read_scan, write_labels
from lexor.io.scans.label_maps import is_written_by_us
from scan_files import affine, blobs, folder, geometries, scan, voxels, write_series

NAMES = {1: "Liver", 2: "left kidney"}


@pytest.fixture
def oblique(tmp_path: Path) -> Scan:
    write_series(tmp_path / "a", where=affine(angles=(20, -10, 40)))
    return read_scan(tmp_path / "a")


@pytest.mark.parametrize("labelmap", [False, True])
def test_highdicom_finds_each_voxel_on_its_source_image(
    oblique: Scan, tmp_path: Path, labelmap: bool
) -> None:
    write_labels(tmp_path / "b.dcm", blobs(), oblique, "dicom-seg", NAMES, labelmap=labelmap)
    found = hd.seg.segread(tmp_path / "b.dcm")
    assert found.segmentation_type.value == ("LABELMAP" if labelmap else "BINARY")
    uids = [str(pydicom.dcmread(one.path).SOPInstanceUID) for one in oblique.slices]
    labels = found.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(labels, blobs())
    source = pydicom.dcmread(oblique.slices[0].path)
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert found[key].value == source[key].value
    assert found.SeriesInstanceUID != source.SeriesInstanceUID
    volume = found.get_volume(combine_segments=True)
    z, y, x = np.argwhere(volume.array == 2)[0]
    place = (volume.affine @ [z, y, x, 1])[:3]
    expected = [oblique.affine @ [*voxel, 1] for voxel in np.argwhere(blobs() == 2)]
    assert min(np.linalg.norm(place - one[:3]) for one in expected) < 1e-3


@given(geometries())
@settings(max_examples=10)
def test_over_all_geometries_a_segmented_voxel_is_where_the_images_voxel_is(where: np.ndarray) -> None:
    with folder() as tmp:
        write_series(tmp / "a", where=where)
        series = read_scan(tmp / "a")
        # Marked in the scan as it was read, whose slices may run the other way round.
        labels = blobs()
        write_labels(tmp / "b.dcm", labels, series, "dicom-seg")
        volume = hd.seg.segread(tmp / "b.dcm").get_volume(combine_segments=True)
    for number in (1, 2):
        found = np.array([(volume.affine @ [*voxel, 1])[:3] for voxel in np.argwhere(volume.array == number)])
        meant = np.array([(series.affine @ [*voxel, 1])[:3] for voxel in np.argwhere(labels == number)])
        assert found.shape == meant.shape
        distances = np.linalg.norm(found[:, None] - meant[None], axis=2)
        assert distances.min(axis=1).max() < 2e-3
        assert distances.min(axis=0).max() < 2e-3


@pytest.mark.parametrize("labelmap", [False, True])
def test_dcmqi_finds_the_same_voxels_at_the_same_places(
    oblique: Scan, tmp_path: Path, labelmap: bool
) -> None:
    write_labels(tmp_path / "b.dcm", blobs(), oblique, "dicom-seg", NAMES, labelmap=labelmap)
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = [program, "--inputDICOM", tmp_path / "b.dcm", "--outputDirectory", tmp_path]
    done = subprocess.run([*command, "-t", "nrrd", "--mergeSegments"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    labels, _ = read_mask(tmp_path / "1.nrrd", oblique)
    np.testing.assert_array_equal(labels, blobs())
    attributes = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    first, second = sorted((one for group in attributes for one in group), key=lambda one: one["labelID"])
    assert (first["SegmentLabel"], second["SegmentLabel"]) == ("Liver", "left kidney")
    assert first["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "Liver"
    assert second["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "Kidney"
    assert first["SegmentAlgorithmType"] == "SEMIAUTOMATIC"
    if "recommendedDisplayRGBValue" in first:
        np.testing.assert_allclose(first["recommendedDisplayRGBValue"], (0xE6, 0x9F, 0x00), atol=2)


@pytest.mark.parametrize("labelmap", [False, True])
def test_labels_with_gaps_keep_their_numbers(oblique: Scan, tmp_path: Path, labelmap: bool) -> None:
    labels = np.where(blobs() == 2, 117, blobs() * 5).astype(np.uint8)
    write_labels(tmp_path / "b.dcm", labels, oblique, "dicom-seg", {117: "Spleen"}, labelmap=labelmap)
    found, names = read_mask(tmp_path / "b.dcm", oblique)
    np.testing.assert_array_equal(found, labels)
    assert names == {5: "object 5", 117: "Spleen"}
    elsewhere, _ = read_mask(
        tmp_path / "b.dcm", scan(voxels(), oblique.affine)
    )  # which does not know the series
    np.testing.assert_array_equal(elsewhere, labels)


def test_of_a_multi_frame_file_and_of_a_tilted_gantry(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", PositionReferenceIndicator="", AcquisitionNumber=1)
    enhanced = legacy.LegacyConvertedEnhancedCTImage(files[::-1], generate_uid(), 5, generate_uid(), 1)
    enhanced.save_as(tmp_path / "enhanced.dcm")
    where = affine()
    where[1, 0] = 0.8
    write_series(tmp_path / "tilted", where=where, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    for source in (tmp_path / "enhanced.dcm", tmp_path / "tilted"):
        found = read_scan(source)
        write_labels(tmp_path / "b.seg.dcm", blobs(), found, "dicom-seg")
        labels, _ = read_mask(tmp_path / "b.seg.dcm", found)
        np.testing.assert_array_equal(labels, blobs())
        write_labels(tmp_path / "b.rtstruct.dcm", blobs(), found, "rtstruct")


def test_emptied_headers_are_filled_in_the_same_way_each_time(tmp_path: Path) -> None:
    gone = dict.fromkeys(
        (
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
            "PatientID",
            "PatientSex",
            "StudyID",
        ),
        "",
    )
    write_series(tmp_path / "a", **gone)
    found = read_scan(tmp_path / "a")
    (warning,) = found.warnings
    assert warning.startswith("a: StudyInstanceUID, SeriesInstanceUID, FrameOfReferenceUID are missing; ")
    for name in "bc":
        write_labels(tmp_path / f"{name}.dcm", blobs(), found, "dicom-seg")
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.dcm", found)[0], blobs())
    first, second = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in "bc")
    assert first.StudyInstanceUID == second.StudyInstanceUID != ""
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_what_cannot_be_a_segmentation_leaves_the_old_file(oblique: Scan, tmp_path: Path) -> None:
    path = tmp_path / "b.dcm"
    write_labels(path, blobs(), oblique, "dicom-seg")
    before = path.read_bytes()
    with pytest.raises(CaseError, match="a: no voxel was segmented, and DICOM-SEG cannot be empty"):
        write_labels(path, np.zeros_like(blobs()), oblique, "dicom-seg")
    for format in ("dicom-seg", "rtstruct"):
        with pytest.raises(CaseError, match="refers to the DICOM images it belongs to, and this is nifti"):
            write_labels(path, blobs(), scan(), format)
    assert path.read_bytes() == before
    assert is_written_by_us(path, "dicom-seg")
    assert not is_written_by_us(oblique.slices[0].path, "dicom-seg")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b.dcm"]
