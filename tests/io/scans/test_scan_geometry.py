"""A voxel of the mask lies where the voxel of the image lies: nibabel and SimpleITK say so, over all geometries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from lexor.errors import CaseError
from lexor.io.scan import read_mask, read_scan, write_labels
from lexor.io.scans.label_maps import ENDINGS
from lexor.io.scans.model import flipped, is_sheared, reversed_axes
from scan_files import affine, blobs, folder, geometries, rotation, scan, voxels

SHAPE = (4, 5, 6)
LABELS = blobs((6, 8, 10))[1:5, 2:7, 3:9]
# Formats hold their geometry in float32, or in six digits.
NEAR = {"rtol": 0, "atol": 2e-3}
MARKED = [(0, 0, 0), (3, 4, 5), (1, 2, 4)]


def places(where: np.ndarray) -> np.ndarray:
    """Millimetres LPS of the marked voxels."""
    return np.array([(where @ [*voxel, 1])[:3] for voxel in MARKED])


def nibabel_places(path: Path) -> np.ndarray:
    """The same as nibabel has them; it counts (x, y, z), and means RAS."""
    where = nib.load(path).affine
    return np.array([(where @ [*voxel[::-1], 1])[:3] * (-1, -1, 1) for voxel in MARKED])


def itk_places(path: Path) -> np.ndarray:
    """The same as SimpleITK has them; it counts (x, y, z), and means LPS."""
    image = sitk.ReadImage(str(path))
    return np.array([image.TransformIndexToPhysicalPoint(voxel[::-1]) for voxel in MARKED])


def itk_image(where: np.ndarray, values: np.ndarray) -> Any:
    image = sitk.GetImageFromArray(values)
    axes = reversed_axes(where)[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(where[:3, 3].tolist())
    return image


@given(geometries())
@settings(max_examples=25)
def test_of_a_nifti_image_that_nibabel_wrote(where: np.ndarray) -> None:
    values = voxels(SHAPE)
    with folder() as tmp:
        nib.save(nib.Nifti1Image(values.T, flipped(reversed_axes(where))), tmp / "a.nii.gz")
        found = read_scan(tmp / "a.nii.gz")
        np.testing.assert_array_equal(found.voxels, values)
        np.testing.assert_allclose(places(found.affine), places(where), **NEAR)
        np.testing.assert_allclose(found.spacing, np.linalg.norm(where[:3, :3], axis=0), rtol=1e-4)
        write_labels(tmp / "b.nii.gz", LABELS, found, "nifti")
        answer = nib.load(tmp / "b.nii.gz")
        np.testing.assert_array_equal(np.asarray(answer.dataobj).T, LABELS)
        np.testing.assert_array_equal(nibabel_places(tmp / "b.nii.gz"), nibabel_places(tmp / "a.nii.gz"))
        np.testing.assert_array_equal(itk_places(tmp / "b.nii.gz"), itk_places(tmp / "a.nii.gz"))
        write_labels(tmp / "b.nrrd", LABELS, found, "nrrd")
        np.testing.assert_allclose(itk_places(tmp / "b.nrrd"), nibabel_places(tmp / "a.nii.gz"), **NEAR)


@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii.gz"])
@given(where=geometries())
@settings(max_examples=15)
def test_of_an_image_that_simpleitk_wrote(ending: str, where: np.ndarray) -> None:
    values = voxels(SHAPE)
    with folder() as tmp:
        sitk.WriteImage(itk_image(where, values), str(tmp / f"a.{ending}"))
        found = read_scan(tmp / f"a.{ending}")
        np.testing.assert_array_equal(found.voxels, values)
        np.testing.assert_allclose(places(found.affine), itk_places(tmp / f"a.{ending}"), **NEAR)
        for format in ("nifti", "nrrd", "mha"):
            path = tmp / f"b{ENDINGS[format]}"
            write_labels(path, LABELS, found, format)
            np.testing.assert_allclose(itk_places(path), itk_places(tmp / f"a.{ending}"), **NEAR)
            np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), LABELS)
            labels, _ = read_mask(path, found)
            np.testing.assert_array_equal(labels, LABELS)


@given(geometries(), st.permutations((0, 1, 2)), st.tuples(*[st.booleans()] * 3), st.booleans())
@settings(max_examples=25)
def test_a_mask_with_its_axes_in_another_order_or_cut_out_is_the_same_mask(
    where: np.ndarray, order: list[int], flips: tuple[bool, ...], cut: bool
) -> None:
    labels, turned = LABELS, where.copy()
    if cut:
        labels, turned = (
            labels[1:, :, 1:5],
            turned @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]),
        )
        full = np.zeros_like(LABELS)
        full[1:, :, 1:5] = labels
    else:
        full = LABELS
    labels, turned = labels.transpose(order), turned[:, [*order, 3]]
    for axis in np.flatnonzero(flips):
        labels = np.flip(labels, axis)
        turned[:, 3] += turned[:, axis] * (labels.shape[axis] - 1)
        turned[:, axis] *= -1
    with folder() as tmp:
        write_labels(tmp / "m.nii.gz", labels, scan(labels, turned), "nifti")
        found, _ = read_mask(tmp / "m.nii.gz", scan(voxels(SHAPE), where))
    np.testing.assert_array_equal(found, full)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w + np.array([[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4]), "its grid is not that of"),
        (lambda w: w @ np.diag([1, 1.1, 1, 1]), "its grid is not that of"),
        (
            lambda w: np.pad(rotation((0, 0, 5)), ((0, 1), (0, 1))) @ w + np.diag([0, 0, 0, 1]),
            "its grid is not",
        ),
        (
            lambda w: w @ np.array([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            "outside a; give a mask",
        ),
    ],
)
def test_a_mask_of_another_grid_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    where = change(affine())
    where[3] = 0, 0, 0, 1
    write_labels(tmp_path / "m.nii.gz", LABELS, scan(LABELS, where), "nifti")
    with pytest.raises(CaseError, match=message):
        read_mask(tmp_path / "m.nii.gz", scan(voxels(SHAPE)))


def test_a_sheared_grid_goes_into_nifti_alone(tmp_path: Path) -> None:
    where = affine()
    where[1, 0] = 0.9  # slices shifted along y, as by a tilted gantry
    assert is_sheared(where)
    assert not is_sheared(affine(angles=(10, 20, 30)))
    tilted = scan(LABELS, where)
    write_labels(tmp_path / "b.nii.gz", LABELS, tilted, "nifti")
    np.testing.assert_allclose(nibabel_places(tmp_path / "b.nii.gz"), places(where), **NEAR)
    assert int(nib.load(tmp_path / "b.nii.gz").header["qform_code"]) == 0
    for format in ("nrrd", "mha"):
        with pytest.raises(CaseError, match="gantry was tilted, and NRRD and MHA hold only right angles"):
            write_labels(tmp_path / f"b.{format}", LABELS, tilted, format)
    assert [path.name for path in tmp_path.iterdir()] == ["b.nii.gz"]


def test_both_geometries_of_a_nifti_header_are_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(SHAPE).T, None)
    image.set_sform(flipped(reversed_axes(affine(angles=(5, 0, 0)))), 2)
    image.set_qform(flipped(reversed_axes(affine())), 1)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "a.nii")
    write_labels(tmp_path / "b.nii", LABELS, read_scan(tmp_path / "a.nii"), "nifti")
    before, after = (nib.load(tmp_path / f"{name}.nii").header for name in "ab")
    for key in ("sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(before[key], after[key])
    np.testing.assert_array_equal(before["pixdim"][:4], after["pixdim"][:4])


def test_micrometres_and_metres_of_a_nifti_are_read_as_millimetres(tmp_path: Path) -> None:
    for unit, factor in (("micron", 0.001), ("meter", 1000.0)):
        image = nib.Nifti1Image(voxels(SHAPE).T, np.diag([0.4, 0.5, 0.6, 1]))
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii")
        found = read_scan(tmp_path / "a.nii")
        np.testing.assert_allclose(found.spacing, np.array([0.6, 0.5, 0.4]) * factor, rtol=1e-6)
        write_labels(tmp_path / "b.nii", LABELS, found, "nifti")
        np.testing.assert_array_equal(
            nib.load(tmp_path / "b.nii").affine, nib.load(tmp_path / "a.nii").affine
        )
