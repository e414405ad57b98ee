"""DICOM series: sorted, measured, and everything odd named."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from highdicom import legacy
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from lexor.errors import CaseError
from lexor.io.scan import case_of, read_scan
from scan_files import CT, MR, PET, affine, voxels, write_series


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "thorax")
    return tmp_path / "thorax"


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (10.0, -20.0, 75.0), (0.0, 90.0, 0.0)])
def test_a_series_is_sorted_by_position_and_in_hounsfield_units(
    tmp_path: Path, angles: tuple[float, float, float]
) -> None:
    where = affine(angles=angles)
    write_series(tmp_path / "a", where=where)
    found = read_scan(tmp_path / "a")
    assert (found.name, found.modality, found.unit, found.format) == ("a", "CT", "HU", "dicom")
    np.testing.assert_array_equal(found.voxels, voxels())
    np.testing.assert_allclose(found.affine, where, atol=1e-9)
    assert found.warnings == ()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(one.path) for one in found.slices])
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), found.voxels)
    for voxel in ((0, 0, 0), (5, 7, 9), (2, 3, 1)):
        place = image.TransformIndexToPhysicalPoint(voxel[::-1])
        np.testing.assert_allclose((found.affine @ [*voxel, 1])[:3], place, atol=1e-4)


def test_slices_that_run_downwards_come_out_upwards(tmp_path: Path) -> None:
    where = affine(signs=(-1, 1, 1))
    write_series(tmp_path / "a", where=where)
    found = read_scan(tmp_path / "a")
    np.testing.assert_array_equal(found.voxels, voxels()[::-1])
    for z in range(6):
        np.testing.assert_allclose(found.affine @ [5 - z, 1, 2, 1], where @ [z, 1, 2, 1], atol=1e-9)


@pytest.mark.parametrize(
    "name", ["CT_small", "MR_small", "MR_small_RLE", "MR_small_jp2klossless", "693_J2KI"]
)
def test_pydicoms_own_files_whatever_their_compression(name: str) -> None:
    path = Path(str(get_testdata_file(f"{name}.dcm")))
    found = read_scan(path)
    data = pydicom.dcmread(path)
    slope, intercept = data.get("RescaleSlope", 1), data.get("RescaleIntercept", 0)
    np.testing.assert_array_equal(found.voxels[0], data.pixel_array * float(slope) + float(intercept))
    assert found.spacing[1:] == pytest.approx(data.PixelSpacing)


def test_a_file_without_a_preamble_and_a_transfer_syntax(tmp_path: Path) -> None:
    data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    expected = data.pixel_array
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.preamble = None
    pydicom.dcmwrite(tmp_path / "old.dcm", data, implicit_vr=False, little_endian=True)
    np.testing.assert_array_equal(read_scan(tmp_path / "old.dcm").voxels[0] + 1024, expected)


def test_slopes_that_differ_from_slice_to_slice(tmp_path: Path) -> None:
    values = np.full((3, 4, 5), 976, np.int16)  # 2000 as stored
    write_series(tmp_path / "a", values, storage=MR, RescaleSlope=lambda i: i + 0.5, RescaleIntercept=1)
    found = read_scan(tmp_path / "a")
    assert found.voxels.dtype == np.float32
    np.testing.assert_array_equal(found.voxels[:, 0, 0], [1001, 3001, 5001])
    assert (found.modality, found.unit) == ("MR", "")


def test_a_tilted_gantry_is_named_and_moves_no_voxel(tmp_path: Path) -> None:
    where = affine()
    where[1, 0] = -3 * np.tan(np.radians(15))  # each slice a little lower
    write_series(tmp_path / "a", where=where, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    found = read_scan(tmp_path / "a")
    np.testing.assert_allclose(found.affine, where, atol=1e-9)
    assert found.sheared
    (warning,) = found.warnings
    assert warning.startswith("a: the gantry was tilted by 15.0 degrees")


def drop(folder: Path) -> None:
    sorted(folder.iterdir())[2].unlink()


def copy(folder: Path) -> None:
    shutil.copy(folder / "0001.dcm", folder / "copy.dcm")


def change(folder: Path, **values: Any) -> None:
    """One file of a series."""
    with warnings.catch_warnings(action="ignore"):  # of what is wrong with these values
        data = pydicom.dcmread(folder / "0002.dcm")
        for key, value in values.items():
            setattr(data, key, value)
        data.save_as(folder / "0002.dcm")


def truncate(folder: Path) -> None:
    path = folder / "0002.dcm"
    path.write_bytes(path.read_bytes()[:-50])


def other_patient(folder: Path) -> None:
    write_series(folder, PatientID="P2", names=[f"other{i}.dcm" for i in range(6)], SeriesDescription="head")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            drop,
            r"thorax: slices are 1 missing: 6.00 mm from \d{4}.dcm and \d{4}.dcm, elsewhere 3.00 mm; give all",
        ),
        (other_patient, "thorax: holds 2 series of 2 patients; choose one by --series .*thorax.*head"),
        (lambda f: change(f, Rows=4, PixelData=b"\0" * 80), "thorax: slices differ in size: "),
        (lambda f: change(f, PixelSpacing=[1, 2]), "thorax: slices differ in size: "),
        (
            lambda f: change(f, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
            "thorax: slices are not parallel: ",
        ),
        (lambda f: change(f, ImagePositionPatient=None), "ImagePositionPatient is None, not 3 numbers"),
        (lambda f: change(f, PixelSpacing=["1"]), "PixelSpacing is '1', not 2 numbers"),
        (
            lambda f: change(f, PhotometricInterpretation="RGB", SamplesPerPixel=3),
            "its pixels are colours .RGB.",
        ),
        (lambda f: change(f, RescaleSlope="nan"), "RescaleSlope is nan"),
        (
            truncate,
            "0002.dcm: cannot be read as DICOM .The number of bytes of pixel data is less than expected",
        ),
        (lambda f: [one.unlink() for one in f.iterdir()], "thorax: no DICOM image to segment; it holds none"),
        (lambda f: change(f, Rows=65535, Columns=65535), "slices differ in size|has shape"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_line(
    series: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(series)
    with pytest.raises(CaseError, match=message) as error:
        read_scan(series)
    assert "\n" not in str(error.value)


def test_a_header_that_promises_gigabytes_takes_none(tmp_path: Path) -> None:
    write_series(tmp_path / "a", voxels((1, 4, 4)), Rows=65535, Columns=65535)
    with pytest.raises(CaseError, match=r"has shape \(1, 65535, 65535\), 4,294,836,225 voxels.*crop it"):
        read_scan(tmp_path / "a")
    write_series(tmp_path / "b", voxels((1, 4, 4)), Rows=20000, Columns=20000)
    with pytest.raises(
        CaseError, match="its header promises 1,600,000,000 bytes of voxels, and the file has"
    ):
        read_scan(tmp_path / "b")


def test_a_deflated_file_that_could_fill_memory_is_refused(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("image_dfl.dcm")))
    with pytest.raises(CaseError, match="ImagePositionPatient is None"):  # it is inflated, and read
        read_scan(path)
    (tmp_path / "a.dcm").write_bytes(path.read_bytes() + bytes(3_000_000))
    with pytest.raises(CaseError, match=r"deflated bytes; at most 2,097,152 are read"):
        read_scan(tmp_path / "a.dcm")


def test_slices_that_are_a_little_off_are_taken_with_a_warning(tmp_path: Path) -> None:
    places = [0, 3, 6.2, 9, 12, 15]
    write_series(tmp_path / "a", ImagePositionPatient=lambda i: [0, 0, places[i]])
    (warning,) = read_scan(tmp_path / "a").warnings
    assert warning.startswith("a: slices are 2.80 to 3.20 mm apart; they are taken as evenly spaced")


def test_a_slice_that_is_there_twice_counts_once(series: Path) -> None:
    copy(series)
    found = read_scan(series)
    np.testing.assert_array_equal(found.voxels, voxels())
    assert found.warnings == ("thorax: 1 of 7 slices are copies of others; they are left out",)


def test_several_volumes_at_the_same_positions_are_frames(tmp_path: Path) -> None:
    uid = generate_uid()
    for time in (1, 0):
        write_series(
            tmp_path / "a",
            voxels(seed=time),
            names=[f"{time}-{i}.dcm" for i in range(6)],
            SeriesInstanceUID=uid,
            TemporalPositionIdentifier=time,
        )
    with pytest.raises(
        CaseError, match=r"a: holds 2 volumes at the same positions, not one; choose one by --frame 0\.\.1"
    ):
        read_scan(tmp_path / "a")
    for time in (0, 1):
        found = read_scan(tmp_path / "a", frame=time)
        np.testing.assert_array_equal(found.voxels, voxels(seed=time))
        assert found.frame == time
    with pytest.raises(CaseError, match=r"--frame is 2, and it holds 2; give 0\.\.1"):
        read_scan(tmp_path / "a", frame=2)
    (tmp_path / "a" / "1-3.dcm").unlink()
    with pytest.raises(CaseError, match="1 to 2 slices at a position"):
        read_scan(tmp_path / "a", frame=0)


@pytest.mark.parametrize("wanted", ["3", "thorax", "THOR", "uid"])
def test_a_series_is_chosen_by_number_word_or_uid(series: Path, wanted: str) -> None:
    (first, *_) = write_series(
        series,
        voxels(seed=9),
        names=[f"x{i}.dcm" for i in range(6)],
        SeriesNumber=4,
        SeriesDescription="head",
    )
    assert first.SeriesNumber == 4
    mine = pydicom.dcmread(series / "0001.dcm")
    found = read_scan(series, series=str(mine.SeriesInstanceUID) if wanted == "uid" else wanted)
    np.testing.assert_array_equal(found.voxels, voxels())
    with pytest.raises(
        CaseError,
        match="--series is 'foot', and no series is that; give a number, a UID or a word of: 3: CT 'thorax', 6",
    ):
        read_scan(series, series="foot")


def test_localisers_and_what_is_no_image_are_left_out(series: Path) -> None:
    for name, kind in (("scout.dcm", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),):
        write_series(series, voxels((1, 4, 4)), names=[name], ImageType=kind)
    shutil.copy(str(get_testdata_file("rtplan.dcm")), series / "plan.dcm")
    shutil.copy(str(get_testdata_file("rtdose.dcm")), series / "dose.dcm")
    (series / "notes.txt").write_text("no DICOM")
    (series / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    found = read_scan(series)
    np.testing.assert_array_equal(found.voxels, voxels())
    (warning,) = found.warnings
    for part in ("1 localiser", "1 RTPLAN file without an image", "1 dose map"):
        assert part in warning


def test_an_enhanced_multi_frame_is_a_volume_and_a_film_is_none(tmp_path: Path) -> None:
    where = affine(angles=(0, 0, 20))
    files = write_series(tmp_path / "a", where=where, BodyPartExamined="CHEST", PositionReferenceIndicator="")
    for data in files:
        data.AcquisitionNumber = 1
    enhanced = legacy.LegacyConvertedEnhancedCTImage(files[::-1], generate_uid(), 5, generate_uid(), 1)
    enhanced.save_as(tmp_path / "enhanced.dcm")
    found = read_scan(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(found.voxels, voxels())
    np.testing.assert_allclose(found.affine, where, atol=1e-6)
    assert [one.frame for one in found.slices] == [5, 4, 3, 2, 1, 0]
    with pytest.raises(
        CaseError, match="30 frames of 'Ultrasound Multi-frame Image Storage' have no positions"
    ):
        read_scan(Path(str(get_testdata_file("examples_ybr_color.dcm"))))


def test_pet_is_brought_to_suv(tmp_path: Path) -> None:
    source = pydicom.Dataset()
    source.RadionuclideTotalDose, source.RadionuclideHalfLife = 370e6, 6586.2
    source.RadiopharmaceuticalStartTime = "100000"
    keys = {
        **{
            "Units": "BQML",
            "CorrectedImage": ["ATTN", "DECY"],
            "DecayCorrection": "START",
            "PatientWeight": 70,
        },
        **{
            "SeriesDate": "20260102",
            "SeriesTime": "110000",
            "RadiopharmaceuticalInformationSequence": [source],
        },
    }
    write_series(tmp_path / "a", storage=PET, **keys)
    found = read_scan(tmp_path / "a")
    assert (found.modality, found.unit, found.warnings) == ("PET", "SUV", ())
    factor = 70_000 / (370e6 * 2 ** (-3600 / 6586.2))
    np.testing.assert_allclose(found.voxels, voxels() * factor, rtol=1e-5)
    write_series(tmp_path / "b", storage=PET, **keys | {"PatientWeight": None})
    found = read_scan(tmp_path / "b")
    assert (found.unit, found.warnings[0]) == (
        "",
        "b: no SUV: PatientWeight is missing; the values are taken as they are",
    )


def test_ct_becomes_a_case_by_its_window(series: Path) -> None:
    scan = read_scan(series)
    soft, lung = case_of(scan).volume, case_of(scan, "lung").volume
    for found, low, width in ((soft, -160, 400), (lung, -910, 1500)):
        expected = np.rint((np.clip(voxels().astype(float), low, low + width) - low) / width * 255)
        np.testing.assert_allclose(found, expected, atol=1)
        assert found.dtype == np.uint8
    assert case_of(scan).spacing == pytest.approx((3, 0.8, 0.7))


@given(st.binary(max_size=400), st.integers(0, 1400))
@settings(max_examples=60)
def test_damage_is_an_error_in_one_line_or_none(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("x")
    write_series(folder, voxels((2, 4, 4)), storage=CT)
    path = folder / "0000.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:at] + junk + content[at + len(junk) :])
    problem = None
    try:
        found = read_scan(folder)
        assert found.voxels.ndim == 3
    except CaseError as error:
        problem = str(error)
    assert problem is None or "\n" not in problem
