"""Scans of any format in, label volumes out: the door to `lexor.io.scans`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Integer, Shaped

from lexor.errors import CaseError, Notes, printable, shown
from lexor.geometry import Box, Clicks
from lexor.io.case import Case, read_case
from lexor.io.intensity import to_uint8
from lexor.io.npz import NpzReader
from lexor.io.scans.dicom import read_dicom
from lexor.io.scans.dicom_files import holds_dicom, is_dicom
from lexor.io.scans.dicom_seg import read_dicom_seg
from lexor.io.scans.itk import read_itk
from lexor.io.scans.label_maps import checked_labels, is_dicom_seg, npz_labels, onto, write_labels
from lexor.io.scans.model import MODALITIES, Scan, check_affine, scaled
from lexor.io.scans.names import format_of, name_of
from lexor.io.scans.nifti import read_nifti
from lexor.io.scans.tiff import read_tiff
from lexor.io.scans.windows import Window, window_of, windowed

__all__ = [
    "Scan",
    "case_of",
    "find_scans",
    "is_scan",
    "name_of",
    "read_mask",
    "read_scan",
    "scan_of",
    "window_of",
    "write_labels",
]

_MAX_FOLDERS: Final = 20_000


def read_scan(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    frame: int | None = None,
    modality: str | None = None,
) -> Scan:
    """Read one volume with its geometry: NIfTI, NRRD, MHA/MHD, TIFF, DICOM (a folder or a file), or a challenge case.

    series: of DICOM, its UID, its number or a part of its description. frame: which of several volumes, from 0.
    modality: in place of what the file or its name says: CT, MR, PET, US or Microscopy.
    Raises CaseError, one line: what the file is, and what to do about it.
    """
    path = Path(path)
    if modality is not None and modality not in MODALITIES:
        raise CaseError(f"modality is {shown(modality)}; give {', '.join(MODALITIES)}")
    if not path.exists():
        raise CaseError(f"{path}: no such file or folder; give a scan")
    if not path.is_dir() and not path.is_file():  # opening it would block
        raise CaseError(f"{path}: a pipe, a socket or a device; give a file")
    scan = _read(path, series, frame)
    if modality is not None and modality != scan.modality:
        scan = replace(scan, modality=modality)
    return replace(scan, unit="HU") if scan.modality == "CT" and not scan.unit else scan


def scan_of(case: Case, source: Path = Path()) -> Scan:
    """A challenge case as a scan, on the grid that `lexor convert` left in its file; else by its spacing."""
    affine = _grid_of(source)
    known = affine is not None or case.spacing is not None
    notes = () if known else (printable(f"{case.name}: spacing is not known; 1 mm is taken"),)
    affine = scaled(case.spacing) if affine is None else affine
    return Scan(case.name, case.volume, affine, case.modality, source=source, format="npz", warnings=notes)


def case_of(
    scan: Scan,
    window: str | None = None,
    boxes: Sequence[Box | None] = (),
    clicks: Sequence[Clicks] = (),
    previous: Integer[np.ndarray, "D H W"] | None = None,
) -> Case:
    """A scan as a case of the challenge: uint8 (D, H, W), with prompts.

    window: of CT, "soft-tissue", "lung", "brain", "bone", or "W,L" in HU (paper section 3.3); without one
    a CT gets "soft-tissue". All others go by their percentiles, see `to_uint8`.
    boxes, clicks, previous: as of `Case`, in voxels of the scan.
    Raises CaseError where there is no such window, or voxels are no numbers.
    """
    notes = Notes()
    chosen: Window | None = None if window is None else window_of(window)
    if chosen is None and scan.modality == "CT" and scan.unit == "HU" and scan.voxels.dtype != np.uint8:
        chosen = window_of("soft-tissue")
    if chosen is None and scan.modality is None and _look_like_ct(scan.voxels):
        notes.append("its values look like Hounsfield units; if it is a CT, give --modality CT")
    try:
        volume = (
            to_uint8(scan.voxels, notes, expected=True)
            if chosen is None
            else windowed(scan.voxels, chosen, notes)
        )
    except CaseError as error:
        raise CaseError(f"{scan.source.name or scan.name}: {error}") from None
    return Case(
        scan.name,
        np.ascontiguousarray(volume),
        scan.spacing,
        tuple(boxes),
        tuple(clicks),
        previous,
        scan.warnings + notes.lines(scan.source.name or scan.name),
    )


def _look_like_ct(voxels: Shaped[np.ndarray, "D H W"]) -> bool:
    """Whether values begin at air, or at what scanners put beside it, and reach bone."""
    low, high = float(voxels.min()), float(voxels.max())
    return -4096 <= low <= -900 and 100 <= high <= 32767


def read_mask(
    path: str | os.PathLike[str], scan: Scan
) -> tuple[Integer[np.ndarray, "D H W"], dict[int, str]]:
    """Labels of any format on a scan's grid, and the names of those that have one.

    path: NIfTI, NRRD, MHA, TIFF, a DICOM segmentation, or .npz with segs or gts. Axes may be swapped, turned
    or cut, but every voxel must lie on one of the scan. Where the file or the scan does not say where it lies,
    as .npz and TIFF, both must have one shape.
    Raises CaseError where they do not, or the file is no label volume.
    """
    path = Path(path)
    if is_dicom_seg(path):
        labels, affine, names = read_dicom_seg(path, scan)
        return onto(path.name, checked_labels(path.name, labels), affine, scan), names
    names = {}
    if format_of(path) == "npz":
        mask = replace(scan, voxels=npz_labels(path), format="npz", name=name_of(path))
    else:
        mask = read_scan(path)
    labels = checked_labels(path.name, mask.voxels)
    if {mask.format, scan.format} & {"npz", "tiff"}:
        if labels.shape != scan.voxels.shape:
            raise CaseError(
                f"{path.name}: has shape {labels.shape}, {scan.name} {scan.voxels.shape}; give one shape"
            )
        return labels, names
    return onto(path.name, labels, mask.affine, scan), names


def is_scan(path: Path) -> bool:
    """Whether something is one source: a file of a known format, or a folder with DICOM files; hidden ones not."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return holds_dicom(path)
    return format_of(path) is not None or is_dicom(path)


def find_scans(folder: Path, but: Path | None = None) -> list[Path]:
    """The sources in a folder, sorted: its files of known formats and, at any depth, folders with DICOM files.

    A folder that holds DICOM files itself is one source, with all of them. but: a folder that is left out.
    Raises CaseError where there are more folders than a person makes.
    """
    found = [
        path for path in folder.iterdir() if not path.is_dir() and is_scan(path) and not _of_series(path)
    ]
    left_out = None if but is None else but.resolve()
    for count, (root, names, _) in enumerate(os.walk(folder)):
        place = Path(root)
        links = [place / name for name in names if (place / name).is_symlink()]
        if count > _MAX_FOLDERS:
            raise CaseError(f"{folder}: holds more than {_MAX_FOLDERS:,} folders; give a folder of scans")
        names[:] = [
            name for name in names if not name.startswith(".") and (place / name).resolve() != left_out
        ]
        # What a link leads to is looked at, and no further: links can lead in a circle.
        found += [one for one in (place, *links) if holds_dicom(one)]
    return sorted(found)


def _of_series(path: Path) -> bool:
    """Whether a file is a part of its folder's DICOM series."""
    return format_of(path) in (None, "dicom")


def _grid_of(source: Path) -> Float[np.ndarray, "4 4"] | None:
    """The geometry in a case's file; None where there is none, or none that can be used."""
    try:
        with NpzReader(source) as file:
            if "affine" not in file or file.shape("affine") != (4, 4):
                return None
            affine = file.array("affine", max_bytes=1024).astype(np.float64)
        check_affine(source.name, affine)
    except (CaseError, ValueError):
        return None
    return affine


def _read(path: Path, series: str | None, frame: int | None) -> Scan:
    if path.is_dir():
        return read_dicom(path, series, frame)
    kind = format_of(path)
    readers: dict[str, Callable[[], Scan]] = {
        "nifti": lambda: read_nifti(path, frame),
        "nrrd": lambda: read_itk(path, "nrrd", frame),
        "mha": lambda: read_itk(path, "mha", frame),
        "tiff": lambda: read_tiff(path, frame),
        "npz": lambda: scan_of(read_case(path), path),
        "dicom": lambda: read_dicom(path, series, frame),
    }
    if kind in readers:
        return readers[kind]()
    if is_dicom(path):
        return read_dicom(path, series, frame)
    raise CaseError(
        f"{path.name}: not a format that is read; give NIfTI, NRRD, MHA, TIFF, DICOM or a challenge .npz"
    )
