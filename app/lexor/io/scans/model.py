"""What a scan is, and the conversions of its geometry.

Inside the package a geometry is one matrix: voxel index (z, y, x, 1) to millimetres (x, y, z) in LPS, the patient
coordinates of DICOM and ITK (x to the patient's left, y to the back, z to the head). NIfTI's are RAS. The turn
between the two is `flipped`, and happens nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Shaped

from lexor.errors import CaseError, shown
from lexor.io.case import MAX_VOXELS, spacing_of
from lexor.io.npz import MAX_ARRAY_BYTES

Format = Literal["nifti", "nrrd", "mha", "tiff", "npz", "dicom-seg", "rtstruct"]
SourceFormat = Literal["nifti", "nrrd", "mha", "tiff", "npz", "dicom"]
MODALITIES: Final = ("CT", "MR", "PET", "US", "Microscopy")
# What files of ours say in their headers. Answers are told by theirs, and may be replaced; a scan that was
# converted may be the only copy, and must not be.
ANSWER_MARK: Final = "Lexor"
IMAGE_MARK: Final = "Lexor image"
# Beyond this the axes of a volume are no longer those of a grid of boxes.
_SHEAR: Final = 1e-3
# No compression in use shrinks real images, or even empty ones, further than deflate's limit by much.
_MOST_COMPRESSION: Final = 1100


@dataclass(frozen=True)
class DicomFrame:
    """One slice's place in its files: frame is the index (from 0) in a multi-frame file, None in a plain one."""

    path: Path
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class Scan:
    """One volume as it was measured, and where it lies.

    name: the file's or folder's name, without extension.
    voxels: (D, H, W) real numbers as measured: HU, SUV, counts. The axes are those of the file, never resampled.
    affine: float64 (4, 4): voxel index (z, y, x, 1) to millimetres (x, y, z, 1) in LPS.
    modality: CT, MR, PET, US or Microscopy; None where nothing says so.
    unit: of the voxels: "HU", "SUV", or "" where it is unknown or has no unit.
    source: the file or folder that was read.
    format: of the source; answers are written in the same by default.
    slices: of a DICOM series, the file of each slice, in the order of the voxels; else ().
    header: of a NIfTI file, its header, which an answer takes over; else None.
    frame: the time point (or echo, direction) that was taken of a series of volumes; else None.
    warnings: what was found odd and how it was dealt with, one line each.
    """

    name: str
    voxels: Shaped[np.ndarray, "D H W"]
    affine: Float[np.ndarray, "4 4"]
    modality: str | None = None
    unit: str = ""
    source: Path = Path()
    format: SourceFormat = "nifti"
    slices: tuple[DicomFrame, ...] = ()
    header: Any = None
    frame: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.voxels.shape
        return depth, height, width

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from a voxel to the next along (z, y, x)."""
        z, y, x = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return z, y, x

    @property
    def sheared(self) -> bool:
        """Whether the axes are not at right angles, as of a CT with a tilted gantry."""
        return is_sheared(self.affine)


def is_sheared(affine: Float[np.ndarray, "4 4"]) -> bool:
    """Whether the axes of a geometry are not at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR)


def flipped(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The same geometry in RAS for one in LPS, and in LPS for one in RAS."""
    found: np.ndarray = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return found


def reversed_axes(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The geometry of (z, y, x) indices for one of (x, y, z) indices, and the other way round."""
    return affine[:, [2, 1, 0, 3]]


def affine_of(
    origin: Sequence[float], directions: Float[np.ndarray, "3 3"], spacing: Sequence[float]
) -> Float[np.ndarray, "4 4"]:
    """A geometry from ITK's parts.

    origin: millimetres (x, y, z) of the first voxel. directions: its columns are the axes of the indices x, y, z.
    spacing: millimetres along the indices (x, y, z).
    """
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions, np.float64) * np.asarray(spacing, np.float64)
    affine[:3, 3] = origin
    return reversed_axes(affine)


def scaled(spacing: tuple[float, float, float] | None) -> Float[np.ndarray, "4 4"]:
    """The geometry of a volume of which only the spacing (z, y, x) is known: axes along the patient's."""
    z, y, x = spacing or (1.0, 1.0, 1.0)
    return affine_of((0, 0, 0), np.eye(3), (x, y, z))


def check_affine(name: str, affine: Float[np.ndarray, "4 4"]) -> None:
    """Raises CaseError where a geometry is not one: not finite, of no extent, or of no size that a voxel has."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.zeros(3)
    volume = abs(float(np.linalg.det(affine[:3, :3]))) if lengths.all() else 0.0
    if spacing_of(lengths) is None or volume < 1e-3 * float(np.prod(lengths)):
        raise CaseError(
            f"{name}: its geometry is {shown(np.round(affine[:3], 4).tolist())}, which places no voxel; "
            "put its origin, directions and spacing right"
        )


def check_size(name: str, shape: Sequence[int], itemsize: int, stored: int, compressed: bool = False) -> None:
    """Raises CaseError where a volume is empty, too large to be read, or larger than its file can hold.

    shape: of what is to be read. itemsize: bytes a voxel. stored: bytes that the file has for it.
    """
    count = math.prod(shape)
    size = count * itemsize
    if not count or min(shape) < 1:
        raise CaseError(f"{name}: has shape {tuple(shape)}, no voxel; give a volume (D, H, W)")
    if count > MAX_VOXELS or size > MAX_ARRAY_BYTES:
        raise CaseError(
            f"{name}: has shape {tuple(shape)}, {count:,} voxels, {size / 1e9:.1f} GB; give at most "
            f"{MAX_VOXELS:,} voxels and {MAX_ARRAY_BYTES / 1e9:.1f} GB: crop it, or resample it"
        )
    if size > stored * (_MOST_COMPRESSION if compressed else 1):
        raise CaseError(
            f"{name}: its header promises {size:,} bytes of voxels, and the file has {stored:,}; "
            "it is cut short, copy it again"
        )


def check_numbers(name: str, dtype: np.dtype[Any]) -> None:
    """Raises CaseError where voxels are no real numbers."""
    if dtype.names is not None or dtype.kind not in "biuf":
        what = "colours" if dtype.names is not None else str(dtype)
        raise CaseError(f"{name}: its voxels are {what}, not real numbers; give one channel of grey values")


def take_frame(name: str, shape: Sequence[int], frame: int | None, what: str = "volumes") -> int:
    """Which of several volumes is read: frame, from 0; of a single one it may be left out.

    shape: the axes beyond the volume's, e.g. (20,) time points. Returns the index along them, in one number.
    Raises CaseError where there are several and none is chosen, or there is no such one.
    """
    count = math.prod(shape)
    if frame is None and count == 1:
        return 0
    if frame is None:
        raise CaseError(f"{name}: holds {count:,} {what}, not one; choose one by --frame 0..{count - 1}")
    if frame and count == 1:
        raise CaseError(f"{name}: --frame is {frame}, and it holds one volume; leave out --frame")
    if not 0 <= frame < count:
        raise CaseError(f"{name}: --frame is {frame}, and it holds {count:,}; give 0..{count - 1}")
    return frame
