"""Label volumes of any format: written on the grid of their scan, and read back onto it. Nothing is resampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Integer, Shaped

from lexor.errors import CaseError, shown
from lexor.io.case import read_labels, write_segmentation
from lexor.io.labels import as_integers
from lexor.io.npz import NpzReader
from lexor.io.prompts import MAX_CLASSES
from lexor.io.scans import dicom_seg, itk, nifti, tiff
from lexor.io.scans.dicom_files import is_dicom
from lexor.io.scans.model import ANSWER_MARK, IMAGE_MARK, Format, Scan
from lexor.io.scans.names import format_of
from lexor.io.scans.rtstruct import write_rtstruct
from lexor.io.whole import whole

ENDINGS: Final[Mapping[Format, str]] = {
    "nifti": ".nii.gz",
    "nrrd": ".nrrd",
    "mha": ".mha",
    "tiff": ".ome.tif",
    "npz": ".npz",
    "dicom-seg": ".seg.dcm",
    "rtstruct": ".rtstruct.dcm",
}
_SAME: Final = 0.1  # voxels; formats round their geometry, but not by so much
_WRITERS: Final[Mapping[str, Callable[[Path, np.ndarray, Scan, str], None]]] = {
    "nifti": nifti.write_nifti,
    "nrrd": itk.write_itk,
    "mha": itk.write_itk,
    "tiff": tiff.write_tiff,
}

Probabilities = Sequence[Callable[[], Float[np.ndarray, "D H W"]]]


def write_labels(
    path: Path,
    labels: Integer[np.ndarray, "D H W"],
    scan: Scan,
    format: Format,
    names: Mapping[int, str] | None = None,
    *,
    n_classes: int | None = None,
    probabilities: Probabilities | None = None,
    labelmap: bool = False,
    automatic: bool = False,
) -> None:
    """Write labels where their scan lies; the file appears complete or not at all.

    path: its folder is there. labels: on the scan's grid, 0 is background. names: of labels, for DICOM.
    n_classes, probabilities: see `write_segmentation`; probabilities are written in .npz alone.
    labelmap: DICOM-SEG of the kind LABELMAP, not BINARY. automatic: whether nobody pointed at the objects, for DICOM.
    Raises CaseError where the format has no place for these labels; OSError where writing fails.
    """
    if labels.shape != scan.voxels.shape:
        raise CaseError(f"{path.name}: labels have shape {labels.shape}, the scan {scan.voxels.shape}")
    check_format(format, scan, probabilities is not None)
    if format == "npz":
        write_segmentation(path, labels, n_classes, probabilities)
        return
    high = max(int(labels.max(initial=0)), n_classes or 0)
    found = labels.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    with whole(path, _ending(path, format)) as temporary:
        if format == "dicom-seg":
            kind: dicom_seg.Kind = "LABELMAP" if labelmap else "BINARY"
            dicom_seg.write_dicom_seg(temporary, found, scan, names, kind, automatic)
        elif format == "rtstruct":
            write_rtstruct(temporary, found, scan, names, automatic)
        else:
            _WRITERS[format](temporary, found, scan, ANSWER_MARK)


def check_format(format: Format, scan: Scan, probabilities: bool = False) -> None:
    """Raises CaseError where a format cannot hold an answer to a scan: said before time is spent on the answer."""
    if probabilities and format != "npz":
        raise CaseError(
            f"{scan.name}: {format} has no place for probabilities; give --format npz, or leave them out"
        )
    if format in ("dicom-seg", "rtstruct"):
        dicom_seg.check_series(scan, format.upper())
    if format in ("nrrd", "mha"):
        itk.check_right_angles(scan)


def write_volume(path: Path, scan: Scan, format: Format) -> None:
    """Write a scan's voxels as they are, in another format; the file appears complete or not at all.

    Raises CaseError where the format holds no volume, or has no place for its geometry; OSError where writing fails.
    """
    if format not in _WRITERS:
        raise CaseError(
            f"{scan.name}: {format} holds labels, not an image; give --format {', '.join(_WRITERS)} or npz"
        )
    with whole(path, _ending(path, format)) as temporary:
        _WRITERS[format](temporary, scan.voxels, scan, IMAGE_MARK)


def format_of_answer(path: Path) -> Format | None:
    """The format of an answer that a file's name asks for; of DICOM it is the segmentation, unless it says more."""
    if path.name.lower().endswith(".rtstruct.dcm"):
        return "rtstruct"
    found = format_of(path)
    return "dicom-seg" if found == "dicom" else found


def is_written_by_us(path: Path, format: Format) -> bool:
    """Whether a file, not an .npz, is one that `write_labels` wrote: what `write_volume` did is no answer."""
    tellers: dict[str, Callable[[Path], bool]] = {
        "nifti": nifti.is_ours,
        "nrrd": itk.is_ours,
        "mha": itk.is_ours,
        "tiff": tiff.is_ours,
        "dicom-seg": dicom_seg.is_ours,
        "rtstruct": dicom_seg.is_ours,
    }
    return path.is_file() and tellers[format](path)


def onto(
    name: str,
    labels: Integer[np.ndarray, "d h w"],
    affine: Float[np.ndarray, "4 4"],
    scan: Scan,
) -> Integer[np.ndarray, "D H W"]:
    """Labels of one grid on that of a scan, voxel for voxel: axes may be swapped and turned, and a part may be
    cut out.

    labels, affine: see `Scan.affine`. What the labels do not cover is background.
    Raises CaseError where voxels of the two do not coincide, or a labelled one is outside the scan.
    """
    between = np.linalg.inv(scan.affine) @ affine
    whole_steps = np.rint(between)
    axes = np.abs(whole_steps[:3, :3])
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*np.subtract(labels.shape, 1), 1]
    off = float(np.abs((between - whole_steps) @ corners.T).max())
    if off > _SAME or not (axes.sum(0) == 1).all() or not (axes.sum(1) == 1).all():
        raise CaseError(
            f"{name}: its grid is not that of {scan.source.name or scan.name}: shape {labels.shape} and "
            f"{scan.voxels.shape}, {shown(np.round(affine[:3], 3).tolist())} and "
            f"{shown(np.round(scan.affine[:3], 3).tolist())}; resample it to the scan"
        )
    order = [int(np.argmax(row)) for row in axes]
    turned = labels.transpose(order)
    found = np.zeros(scan.voxels.shape, labels.dtype)
    target, source = [], []
    for axis, length in enumerate(found.shape):
        sign, start = int(whole_steps[axis, order[axis]]), int(whole_steps[axis, 3])
        count = turned.shape[axis]
        if sign < 0:
            turned, start = np.flip(turned, axis), start - count + 1
        low, high = max(start, 0), min(start + count, length)
        target.append(slice(low, max(high, low)))
        source.append(slice(low - start, max(high, low) - start))
    found[tuple(target)] = turned[tuple(source)]
    if (lost := int(np.count_nonzero(labels)) - int(np.count_nonzero(found))) > 0:
        raise CaseError(
            f"{name}: {lost:,} of its labelled voxels are outside {scan.name}; give a mask of this scan"
        )
    return found


def checked_labels(name: str, labels: Shaped[np.ndarray, ...]) -> Integer[np.ndarray, ...]:
    """Whole numbers from 0 in the smallest unsigned type. Raises CaseError where they are anything else."""
    try:
        found = as_integers(labels)
    except CaseError as error:
        raise CaseError(f"{name}: {error}") from None
    low, high = int(found.min(initial=0)), int(found.max(initial=0))
    if low < 0 or high > MAX_CLASSES:
        raise CaseError(f"{name}: has labels {low}..{high}; give 0..{MAX_CLASSES}")
    return found.astype(np.min_scalar_type(high))


def npz_labels(path: Path) -> Integer[np.ndarray, "D H W"]:
    """Labels of an answer (segs), or the truth of a case (gts)."""
    with NpzReader(path) as file:
        key = "segs" if "segs" in file else "gts"
    return checked_labels(path.name, read_labels(path, key))


def is_dicom_seg(path: Path) -> bool:
    """Whether a file is a DICOM segmentation, by whatever name."""
    return path.is_file() and is_dicom(path) and dicom_seg.is_segmentation(path)


def _ending(path: Path, format: Format) -> str:
    """What a temporary name must end in: writers go by it."""
    return ".nii" if format == "nifti" and path.name.lower().endswith(".nii") else ENDINGS[format]
