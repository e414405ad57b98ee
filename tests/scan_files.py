"""Scans for tests: geometries of every kind, and DICOM series as a scanner writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lexor.io.scans.model import Scan

CT, MR, PET = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128")


def voxels(shape: tuple[int, int, int] = (6, 8, 10), seed: int = 0) -> np.ndarray:
    """Numbers of CT, no two slices or axes alike."""
    return np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """A rotation by three angles in degrees about x, y and z."""
    found = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        one = np.eye(3)
        others = [a for a in range(3) if a != axis]
        one[np.ix_(others, others)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        found = one @ found
    return found


def affine(
    spacing: tuple[float, float, float] = (3.0, 0.8, 0.7),
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
    origin: tuple[float, float, float] = (-50.0, 20.0, 100.0),
    signs: tuple[int, int, int] = (1, 1, 1),
    order: tuple[int, int, int] = (2, 1, 0),
) -> np.ndarray:
    """Voxel (z, y, x) to LPS: the patient axes in this order, turned by angles and signs, of lengths spacing."""
    found = np.eye(4)
    found[:3, :3] = rotation(angles)[:, list(order)] * np.array(signs) * np.array(spacing)
    found[:3, 3] = origin
    return found


def write_series(
    folder: Path,
    values: np.ndarray | None = None,
    where: np.ndarray | None = None,
    *,
    storage: str = CT,
    names: list[str] | None = None,
    shuffle: bool = True,
    pet: bool = False,
    **keys: Any,
) -> list[Dataset]:
    """One file a slice, in an order of names that is not that of the slices; returns the data sets in that of slices.

    where: the geometry, `affine()` if not given; its z axis may be oblique to the slices (a tilted gantry).
    keys: of every file, in place of what is made up; of a callable, its value for the slice's index.
    """
    values = voxels() if values is None else values
    where = affine() if where is None else where
    folder.mkdir(parents=True, exist_ok=True)
    spacing = np.linalg.norm(where[:3, :3], axis=0)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    numbers = np.random.default_rng(1).permutation(len(values)) if shuffle else np.arange(len(values))
    found = []
    for index, plane in enumerate(values):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = storage, generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "P1", "Test^One", "", "F"
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20260102", "101112", "1", ""
        data.Modality = {CT: "CT", MR: "MR", PET: "PT"}[storage]
        data.SeriesNumber, data.SeriesDescription, data.InstanceNumber = 3, "thorax", int(numbers[index]) + 1
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.ImageOrientationPatient = [*(where[:3, 2] / spacing[2]), *(where[:3, 1] / spacing[1])]
        data.ImagePositionPatient = list((where @ [index, 0, 0, 1])[:3])
        data.PixelSpacing, data.SliceThickness = [float(spacing[1]), float(spacing[2])], float(spacing[0])
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
        for key, value in keys.items():
            setattr(data, key, value(index) if callable(value) else value)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        name = names[index] if names else f"{numbers[index]:04d}.dcm"
        pydicom.dcmwrite(folder / name, data, enforce_file_format=True)
        found.append(data)
    return found


def scan(values: np.ndarray | None = None, where: np.ndarray | None = None, **fields: Any) -> Scan:
    """A scan that was read from nowhere."""
    values = voxels() if values is None else values
    return Scan("a", values, affine() if where is None else where, **{"source": Path("a.nii.gz"), **fields})


def blobs(shape: tuple[int, int, int] = (6, 8, 10)) -> np.ndarray:
    """Labels 1 and 2, with no symmetry, and not in every slice."""
    labels = np.zeros(shape, np.uint8)
    labels[1:4, 2:5, 3:9] = 1
    labels[2, 3, 4] = 0
    labels[3:5, 5:7, 1:4] = 2
    labels[4, 7, 9] = 2
    return labels


@st.composite
def geometries(draw: st.DrawFn) -> np.ndarray:
    """Oblique, flipped, permuted, anisotropic."""
    return affine(
        draw(st.tuples(*[st.floats(0.2, 6)] * 3)),
        draw(st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-180, 180)] * 3))),
        draw(st.tuples(*[st.floats(-400, 400)] * 3)),
        draw(st.tuples(*[st.sampled_from((-1, 1))] * 3)),
        draw(st.permutations((0, 1, 2)).map(tuple)),
    )


@contextmanager
def folder() -> Iterator[Path]:
    """A new one for each example, which pytest's would not be."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
