"""RT structure sets: a voxel's middle is within the outlines just if the voxel is in the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from lexor.io.scan import read_scan, write_labels
from lexor.io.scans.rtstruct import contours
from scan_files import affine, blobs, write_series


def filled(outlines: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The mask of outlines (x, y): what lies in an odd number of them."""
    rows, columns = np.indices(shape)
    points = np.column_stack((columns.ravel(), rows.ravel()))
    inside = np.zeros(shape, bool)
    for outline in outlines:
        inside ^= Outline(outline).contains_points(points).reshape(shape)
    return inside


@given(arrays(np.bool_, (7, 9)))
@settings(max_examples=200)
def test_outlines_hold_the_mask_and_nothing_else(mask: np.ndarray) -> None:
    found = list(contours(mask))
    np.testing.assert_array_equal(filled(found, mask.shape), mask)
    for outline in found:
        assert len(outline) >= 4
        assert not np.array_equal(outline[0], outline[-1])


def test_the_file_refers_to_its_images_and_gives_back_the_mask(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", where=affine(angles=(20, -10, 40)))
    scan = read_scan(tmp_path / "a")
    write_labels(tmp_path / "b.dcm", blobs(), scan, "rtstruct", {2: "Liver"})
    found = pydicom.dcmread(tmp_path / "b.dcm")
    assert found.SOPClassUID.name == "RT Structure Set Storage"
    assert found.StudyInstanceUID == files[0].StudyInstanceUID
    (frame,) = found.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == files[0].FrameOfReferenceUID
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == files[0].SeriesInstanceUID
    uids = [str(one.SOPInstanceUID) for one in files]
    assert [one.ReferencedSOPInstanceUID for one in series.ContourImageSequence] == uids
    assert [one.ROIName for one in found.StructureSetROISequence] == ["object 1", "Liver"]
    assert [one.ROINumber for one in found.StructureSetROISequence] == [1, 2]
    assert [list(one.ROIDisplayColor) for one in found.ROIContourSequence] == [[230, 159, 0], [86, 180, 233]]
    back = np.zeros_like(blobs())
    for number, roi in enumerate(found.ROIContourSequence, 1):
        for z, uid in enumerate(uids):
            outlines = []
            for item in roi.ContourSequence:
                if item.ContourImageSequence[0].ReferencedSOPInstanceUID == uid:
                    points = np.array(item.ContourData, float).reshape(-1, 3)
                    assert item.NumberOfContourPoints == len(points)
                    voxels = (
                        np.linalg.inv(scan.affine) @ np.column_stack((points, np.ones(len(points)))).T
                    ).T
                    np.testing.assert_allclose(voxels[:, 0], z, atol=1e-3)
                    outlines.append(voxels[:, [2, 1]])
            back[z][filled(outlines, blobs().shape[1:])] = number
    np.testing.assert_array_equal(back, blobs())
