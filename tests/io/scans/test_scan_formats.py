"""NIfTI, NRRD, MHA and TIFF: what they hold, and what is wrong with them, in one line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from lexor.errors import CaseError
from lexor.io.scan import case_of, read_mask, read_scan, write_labels
from lexor.io.scans.label_maps import ENDINGS, is_written_by_us, write_volume
from scan_files import blobs, scan, voxels

NIBABEL = Path(nib.__file__).parent / "tests" / "data"


def write_nifti(path: Path, values: np.ndarray, **header: Any) -> Path:
    image = nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0]), dtype=values.dtype)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def one_line(path: Path, **how: Any) -> str:
    with pytest.raises(CaseError) as error:
        read_scan(path, **how)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(path.name)
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"]
)
def test_nibabels_own_files(name: str) -> None:
    image = nib.load(NIBABEL / name)
    data = image.get_fdata()
    found = read_scan(NIBABEL / name, frame=1 if data.ndim == 4 else None)
    np.testing.assert_allclose(found.voxels, (data[..., 1] if data.ndim == 4 else data).T, rtol=1e-6)
    assert found.spacing == pytest.approx(np.array(image.header.get_zooms()[2::-1], float), rel=1e-3)
    assert found.frame == (1 if data.ndim == 4 else None)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.uint8, np.int32, np.float64, ">i2"])
def test_nifti_of_any_number_type(dtype: Any, tmp_path: Path) -> None:
    values = (np.arange(60).reshape(3, 4, 5) * 3).astype(dtype)
    found = read_scan(write_nifti(tmp_path / "a.nii.gz", values))
    np.testing.assert_array_equal(found.voxels, values.T)
    assert case_of(found).volume.dtype == np.uint8


def test_nifti_scale_is_applied_in_a_type_that_holds_it(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -1000)
    nib.save(image, tmp_path / "a.nii")
    found = read_scan(tmp_path / "a.nii")
    assert found.voxels.dtype == np.float32
    np.testing.assert_allclose(found.voxels, nib.load(tmp_path / "a.nii").get_fdata().T)


def test_nans_become_the_smallest_value_with_a_warning(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    values[0, 0, 0] = np.nan
    case = case_of(read_scan(write_nifti(tmp_path / "a.nii", values)))
    assert case.warnings[0].startswith("a.nii: imgs has 1 voxels that are NaN or infinite")
    case = case_of(read_scan(write_nifti(tmp_path / "CT_a.nii", values)))
    assert case.warnings == ("CT_a.nii: 1 voxels are NaN; they become -160 HU, give finite values",)
    assert case.volume[0, 0, 0] == 0


def test_volumes_in_a_nifti_are_chosen_by_frame(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.arange(240, dtype=np.int16).reshape(3, 4, 5, 4))
    assert one_line(path) == "a.nii.gz: holds 4 volumes, not one; choose one by --frame 0..3"
    assert "--frame is 4, and it holds 4; give 0..3" in one_line(path, frame=4)
    np.testing.assert_array_equal(
        read_scan(path, frame=2).voxels.T, np.arange(240).reshape(3, 4, 5, 4)[..., 2]
    )
    assert "several values a voxel" in one_line(
        write_nifti(tmp_path / "b.nii", np.zeros((3, 4, 5, 1, 3), "f4"))
    )


def test_colours_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "its voxels are colours, not real numbers; give one channel" in one_line(
        write_nifti(tmp_path / "a.nii", colours)
    )
    assert "complex64, not real numbers" in one_line(
        write_nifti(tmp_path / "b.nii", np.zeros((3, 4, 5), "c8"))
    )


def test_a_header_of_60_gigabytes_on_a_file_of_one_kilobyte(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((3100, 3100, 3200))
    header["magic"], header["vox_offset"], header["sform_code"] = b"n+1", 352, 1
    header["srow_x"][0] = header["srow_y"][1] = header["srow_z"][2] = 1
    content = header.binaryblock + bytes(4 + 700)
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    for name in ("a.nii", "a.nii.gz"):
        assert "30,752,000,000 voxels, 61.5 GB; give at most" in one_line(tmp_path / name)
    header.set_data_shape((900, 900, 900))
    content = header.binaryblock + bytes(4 + 700)
    (tmp_path / "b.nii").write_bytes(content)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content))
    for name in ("b.nii", "b.nii.gz"):
        assert "its header promises 1,458,000,000 bytes of voxels, and the file has" in one_line(
            tmp_path / name
        )


def test_truncated_files_and_what_is_none(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 999, (30, 30, 30)).astype(np.int16)
    for name in ("a.nii.gz", "a.nii"):
        path = write_nifti(tmp_path / name, values)
        path.write_bytes(path.read_bytes()[:-1000])
        assert "copy it again" in one_line(path)
    for format in ("nrrd", "mha"):
        path = tmp_path / f"a.{format}"
        write_volume(path, scan(values), format)
        path.write_bytes(path.read_bytes()[:-1000])
        assert "copy it again" in one_line(path)
    tifffile.imwrite(tmp_path / "a.tif", values)
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-30000])
    one_line(tmp_path / "a.tif")
    for name in ("b.nii", "b.nii.gz", "b.nrrd", "b.mha", "b.tif", "b.dcm", "b.npz", "c.mhd"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        one_line(tmp_path / name)
    with pytest.raises(CaseError, match=r"x\.nii: no such file or folder"):
        read_scan(tmp_path / "x.nii")
    (tmp_path / "x.jpg").write_bytes(b"")
    assert "not a format that is read" in one_line(tmp_path / "x.jpg")


@pytest.mark.parametrize("format", ["nrrd", "mha"])
def test_nrrd_and_mha_that_promise_what_they_lack(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format}"
    write_volume(path, scan(voxels((6, 8, 10))), format)
    for size in (b"4000 4000 4000", b"900 900 900"):
        (tmp_path / f"b.{format}").write_bytes(path.read_bytes().replace(b"10 8 6", size))
        message = one_line(tmp_path / f"b.{format}")
        assert "64,000,000,000 voxels" in message or "its header promises 1,458,000,000 bytes" in message


def test_headers_beside_their_voxels(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(voxels())
    for name in ("a.mhd", "a.nhdr"):
        sitk.WriteImage(image, str(tmp_path / name))
        np.testing.assert_array_equal(read_scan(tmp_path / name).voxels, voxels())
    text = (tmp_path / "a.mhd").read_text()
    (tmp_path / "b.mhd").write_text(text.replace("a.raw", "gone.raw"))
    assert "its voxels are in gone.raw, which is not there" in one_line(tmp_path / "b.mhd")
    (tmp_path / "c.mhd").write_text(text.replace("a.raw", "LIST"))
    assert "its voxels are in several files" in one_line(tmp_path / "c.mhd")


@pytest.mark.parametrize("format", ["nrrd", "mha"])
def test_volumes_and_values_a_voxel_are_chosen_by_frame(format: str, tmp_path: Path) -> None:
    values = np.arange(240, dtype=np.int16).reshape(4, 3, 4, 5)
    path = tmp_path / f"a.{format}"
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(path))
    assert "holds 4 volumes, not one; choose one by --frame" in one_line(path)
    np.testing.assert_array_equal(read_scan(path, frame=3).voxels, values[3])
    sitk.WriteImage(sitk.GetImageFromArray(np.moveaxis(values, 0, -1).copy(), isVector=True), str(path))
    assert "holds 4 colours or values a voxel, not one; choose one by --frame" in one_line(path)
    np.testing.assert_array_equal(read_scan(path, frame=2).voxels, values[2])


def test_tiff_of_every_kind(tmp_path: Path) -> None:
    values = voxels((6, 8, 10)).astype(np.uint16)
    size = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 300, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 1.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={"axes": "ZYX", **size})
    tifffile.imwrite(
        tmp_path / "b.tif",
        values,
        imagej=True,
        resolution=(5, 4),
        metadata={"spacing": 2, "unit": "um", "axes": "ZYX"},
    )
    tifffile.imwrite(tmp_path / "c.tiff", values, photometric="minisblack")
    for name, spacing in (
        ("a.ome.tif", (1.5e-3, 3e-4, 2e-4)),
        ("b.tif", (2e-3, 2.5e-4, 2e-4)),
        ("c.tiff", (1, 1, 1)),
    ):
        found = read_scan(tmp_path / name)
        np.testing.assert_array_equal(found.voxels, values)
        assert found.spacing == pytest.approx(spacing)
        assert (found.name, found.format, len(found.warnings)) == (name[0], "tiff", spacing == (1, 1, 1))
    channels = np.stack((values, values + 1))
    tifffile.imwrite(tmp_path / "d.ome.tif", channels, metadata={"axes": "CZYX"}, photometric="minisblack")
    assert "volumes or channels (axes C), not one; choose one by --frame 0..1" in one_line(
        tmp_path / "d.ome.tif"
    )
    np.testing.assert_array_equal(read_scan(tmp_path / "d.ome.tif", frame=1).voxels, values + 1)
    tifffile.imwrite(tmp_path / "e.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    assert "holds 3 colours, not one" in one_line(tmp_path / "e.tif")
    tifffile.imwrite(tmp_path / "f.tif", values[0])
    assert read_scan(tmp_path / "f.tif").shape == (1, 8, 10)


def test_lzw_which_tifffile_alone_cannot_read(tmp_path: Path) -> None:
    values = voxels((3, 8, 10)).astype(np.uint8)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.tif"))
    writer.UseCompressionOn()
    writer.SetCompressor("LZW")
    writer.Execute(sitk.GetImageFromArray(values))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].compression.name == "LZW"
    np.testing.assert_array_equal(read_scan(tmp_path / "a.tif").voxels, values)


@pytest.mark.parametrize("format", ["nifti", "nrrd", "mha", "tiff"])
def test_volumes_and_labels_come_back_as_they_were(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ENDINGS[format]}"
    write_volume(path, scan(voxels()), format)
    np.testing.assert_array_equal(read_scan(path).voxels, voxels())
    assert not is_written_by_us(path, format)
    many = blobs().astype(np.uint16) * 500
    write_labels(path, many, scan(), format)
    assert is_written_by_us(path, format)
    found, _ = read_mask(path, read_scan(path))
    np.testing.assert_array_equal(found, many)
    assert sorted(tmp_path.iterdir()) == [path]
    with pytest.raises(CaseError, match=f"{format} has no place for probabilities; give --format npz"):
        write_labels(path, many, scan(), format, probabilities=[])


def test_masks_that_are_no_labels(tmp_path: Path) -> None:
    for values, message in (
        (np.full((10, 8, 6), 0.5, np.float32), "holds 0.5; give integer labels"),
        (np.full((10, 8, 6), -1, np.int16), "has labels -1..0; give 0..65535"),
        (np.full((10, 8, 6), 70000, np.int32), "has labels 0..70000; give 0..65535"),
    ):
        path = write_nifti(tmp_path / "m.nii", values)
        with pytest.raises(CaseError, match=r"m\.nii: ") as error:
            read_mask(path, read_scan(path))
        assert message in str(error.value)


def test_a_sform_that_places_nothing_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8))
    content = bytearray(path.read_bytes())
    struct.pack_into("<4f", content, 280, 0, 0, 0, 0)
    path.write_bytes(bytes(content))
    assert "its geometry is" in one_line(path)
    assert "places no voxel" in one_line(path)


@pytest.mark.parametrize("axes", [b"-1", b"999999", b"0", b"x"])
def test_a_number_of_axes_that_would_crash_itk(axes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    write_volume(path, scan(), "mha")
    path.write_bytes(path.read_bytes().replace(b"NDims = 3", b"NDims = " + axes))
    assert "NDims is " in one_line(path)
    assert not is_written_by_us(path, "mha")


def test_a_damaged_stream_on_which_itk_would_never_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    write_volume(path, scan(), "mha")
    content = path.read_bytes()
    start = content.index(b"LOCAL\n") + len(b"LOCAL\n")
    path.write_bytes(content[: start + 1] + b"\x3f" + content[start + 2 :])
    assert "its voxels cannot be read (" in one_line(path)
    path.write_bytes(content[:-5])
    assert "its voxels end too early or too late" in one_line(path)


def test_a_unit_that_stands_for_none_is_millimetres(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), xyzt_units=7)
    found = read_scan(path)
    assert found.spacing == (3, 2, 1)
    write_labels(tmp_path / "b.nii", np.zeros((5, 4, 3), np.uint8), found, "nifti")
    assert read_scan(tmp_path / "b.nii").spacing == (3, 2, 1)
