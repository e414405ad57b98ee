"""What is a scan, what it is called, what it shows, and which there are in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexor.errors import CaseError, Notes
from lexor.io.case import Case, read_case, write_case
from lexor.io.reading import Reading, open_source
from lexor.io.scan import case_of, find_scans, read_scan, scan_of, window_of
from lexor.io.scans.label_maps import write_volume
from lexor.io.scans.names import format_of, modality_of, name_of
from lexor.io.scans.windows import windowed
from scan_files import affine, scan, voxels, write_series


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CT_lung_17", "CT"),
        ("mri_3", "MR"),
        ("sub-01_ses-2_T1w", "MR"),
        ("sub-01_task-rest_bold", "MR"),
        ("sub-1_FLAIR", "MR"),
        ("sub-01_pet", "PET"),
        ("sub-01_CT", "CT"),
        ("sub-01_sample-A_SPIM", "Microscopy"),
        ("us-17", "US"),
        ("Microscopy_x", "Microscopy"),
        ("scan", None),
        ("contact_sheet", None),
        ("", None),
    ],
)
def test_the_modality_that_a_name_says(name: str, expected: str | None) -> None:
    assert modality_of(name) == expected


def test_names_and_formats(tmp_path: Path) -> None:
    for name, called, kind in (
        ("a.nii.gz", "a", "nifti"),
        ("a.b.NII", "a.b", "nifti"),
        ("a.ome.tif", "a", "tiff"),
        ("1.2.3", "1.2.3", None),
        ("x.dcm", "x", "dicom"),
        (".nii", ".nii", "nifti"),
    ):
        assert (name_of(Path(name)), format_of(Path(name))) == (called, kind)
    (tmp_path / "1.2.840.nii").mkdir()
    assert name_of(tmp_path / "1.2.840.nii") == "1.2.840.nii"


def test_the_scans_of_a_folder(tmp_path: Path, ball_case: Case) -> None:
    write_series(tmp_path / "b" / "CT 3")
    write_series(tmp_path / "b" / "nested" / "deep", names=[f"IM{i}" for i in range(6)])
    (tmp_path / "link").symlink_to(tmp_path / "b" / "CT 3")
    (tmp_path / "b" / "empty").mkdir()
    write_case(tmp_path / "a.npz", ball_case)
    write_volume(tmp_path / "c.nii.gz", scan(), "nifti")
    (tmp_path / ".hidden.nii").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    names = ["a.npz", "b/CT 3", "b/nested/deep", "c.nii.gz", "link"]
    assert [str(path.relative_to(tmp_path)) for path in find_scans(tmp_path)] == names
    assert find_scans(tmp_path / "b" / "CT 3") == [tmp_path / "b" / "CT 3"]
    assert tmp_path / "b" / "CT 3" not in find_scans(tmp_path, tmp_path / "b")


def test_windows_of_the_paper_and_of_ones_own() -> None:
    ranges = {"soft-tissue": (-160, 240), "lung": (-910, 590), "brain": (0, 80), "bone": (-500, 1300)}
    for name, expected in {**ranges, "100,50": (0, 100), " Lung ": (-910, 590)}.items():
        assert window_of(name).range == expected
    for wrong in ("liver", "0,1", "-5,1", "1", "nan,1", "1,2,3"):
        with pytest.raises(
            CaseError, match=r"--window is .*; give soft-tissue, lung, brain, bone, or WIDTH,LEVEL"
        ):
            window_of(wrong)
    values = np.array([[[-2000, 0, 40, 80, 3000, 20]]], np.int16)
    assert windowed(values, window_of("brain"), Notes()).ravel().tolist() == [0, 0, 128, 255, 255, 64]


def test_what_is_no_ct_goes_by_its_percentiles_and_uint8_stays() -> None:
    found = case_of(scan(voxels(), modality="MR"))
    assert found.warnings == ()
    assert (found.volume.min(), found.volume.max()) == (0, 255)
    (warning,) = case_of(scan(voxels())).warnings
    assert warning == "a.nii.gz: its values look like Hounsfield units; if it is a CT, give --modality CT"
    (warning,) = case_of(scan(voxels() // 1000, modality="MR")).warnings
    assert "3 grey levels" in warning
    values = voxels().astype(np.uint8)
    np.testing.assert_array_equal(case_of(scan(values, modality="CT", unit="HU")).volume, values)


def test_a_case_is_a_scan_on_the_grid_that_it_came_from(tmp_path: Path, ball_case: Case) -> None:
    write_case(tmp_path / "a.npz", ball_case, affine=affine(angles=(10, 0, 0)))
    np.testing.assert_array_equal(read_scan(tmp_path / "a.npz").affine, affine(angles=(10, 0, 0)))
    for wrong in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), np.array("x")):
        np.savez(tmp_path / "b.npz", imgs=ball_case.volume, spacing=(3, 2, 1), affine=wrong)
        found = scan_of(read_case(tmp_path / "b.npz"), tmp_path / "b.npz")
        assert found.spacing == (3, 2, 1)
        np.testing.assert_array_equal(found.affine @ [1, 0, 0, 1], [0, 0, 3, 1])
    np.savez(tmp_path / "c.npz", imgs=ball_case.volume)
    assert read_scan(tmp_path / "c.npz").warnings == ("c: spacing is not known; 1 mm is taken",)


def test_reading_is_as_it_was_asked_for(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", scan(), "nifti")
    opened = open_source(tmp_path / "a.nii.gz", Reading(modality="CT", window="bone", names=("liver",)))
    assert (opened.scan.modality, opened.scan.unit, opened.names) == ("CT", "HU", {1: "liver"})
    expected = np.rint((np.clip(voxels().astype(float), -500, 1300) + 500) / 1800 * 255)
    np.testing.assert_allclose(opened.case.volume, expected, atol=1)
    with pytest.raises(CaseError, match="modality is 'XR'; give CT, MR, PET, US, Microscopy"):
        read_scan(tmp_path / "a.nii.gz", modality="XR")
