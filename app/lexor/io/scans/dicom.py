"""DICOM images as one volume: slices sorted by position, pixels as measured, everything odd named.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.7.6.16 (multi-frame functional groups), C.11.1 (modality LUT).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from lexor.errors import CaseError, Notes, shown
from lexor.io.scans.dicom_files import (
    Series,
    choose_series,
    find_series,
    quiet,
    read_header,
    text,
    unreadable,
)
from lexor.io.scans.dicom_seg import SHARED_UIDS
from lexor.io.scans.dicom_stack import Slice, arrange, pick_frame
from lexor.io.scans.model import DicomFrame, Scan, check_affine, check_size
from lexor.io.scans.names import name_of, named_path
from lexor.io.scans.suv import suv_factor

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MODALITIES: Final = {"CT": "CT", "MR": "MR", "PT": "PET", "US": "US", "SM": "Microscopy", "GM": "Microscopy"}
_LARGE: Final = 1 << 28  # bytes; what is smaller costs little, even if the file does not have it


def read_dicom(source: Path, series: str | None = None, frame: int | None = None) -> Scan:
    """The volume of a DICOM series.

    source: a folder with its files (sub-folders are not looked into), or one file. series: which, if there are
    several: its UID, its number or a part of its description. frame: which volume, from 0, where a series
    holds several at the same positions (time points, echoes, directions).
    Values are those of the modality: slope and intercept are applied (HU in CT), and PET is brought to SUV by
    body weight where the header says all that it takes.
    Raises CaseError: no image, several series, colours, slices missing or not parallel, and what cannot be decoded.
    """
    with quiet():  # values are decoded when they are asked for, so all of it can warn
        return _read(source, series, frame)


def _read(source: Path, series: str | None, frame: int | None) -> Scan:
    source = source if source.name not in ("", "..") else named_path(source)  # messages begin with its name
    notes = Notes()
    found = choose_series(source, find_series(source, notes), series)
    slices = [one for path in found.files for one in _slices(path, notes)]
    if not slices:
        raise CaseError(f"{source.name}: no file of series {found.uid} can be read; copy them again")
    chosen, frames = pick_frame(source.name, slices, frame, notes)
    ordered, affine = arrange(source.name, chosen, notes)
    check_affine(source.name, affine)
    voxels = _pixels(source.name, ordered)
    header = read_header(ordered[0].path)
    unit = {"CT": "HU"}.get(found.modality, "")
    if found.modality == "PT":
        voxels, unit = _suv(voxels, header, notes)
    if missing := [key for key in SHARED_UIDS if not text(header, key)]:
        notes.append(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; DICOM answers have made-up "
            "ones, and a viewer may not show them with the images"
        )
    if ordered[0].inverted:
        notes.append("its grey values are inverted (MONOCHROME1); they are taken as they are")
    return Scan(
        _name(source, found),
        voxels,
        affine,
        _MODALITIES.get(found.modality),
        unit,
        source,
        "dicom",
        tuple(DicomFrame(one.path, one.frame) for one in ordered),
        frame=(frame or 0) if frames > 1 else None,
        warnings=notes.lines(source.name),
    )


def _name(source: Path, series: Series) -> str:
    """The folder's name, or the file's."""
    return name_of(source) or series.uid


def _slices(path: Path, notes: Notes) -> list[Slice]:
    """The slices of a file, of which only the header is read."""
    try:
        header = read_header(path)
        return list(_multi_frame(path, header) if "NumberOfFrames" in header else _plain(path, header))
    except CaseError:
        raise
    except Exception as error:  # a value that is none of its kind is found when it is asked for
        raise unreadable(path, error) from error


def _plain(path: Path, header: Dataset) -> Iterator[Slice]:
    yield _slice(path, None, header, header, header, header, header)


def _multi_frame(path: Path, header: Dataset) -> Iterator[Slice]:
    """The frames of an enhanced image; other films and loops have no positions, and are refused."""
    count = int(header.NumberOfFrames)
    shared = _first(header, "SharedFunctionalGroupsSequence")
    if count == 1 and shared is None:
        yield _slice(path, None, header, header, header, header, header)
        return
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(frames) != count or shared is None:
        kind = getattr(header.get("SOPClassUID"), "name", "unknown class")
        raise CaseError(
            f"{path.name}: {count} frames of {shown(kind)} have no positions in space: it is a film or a loop, not a "
            "volume; give a CT, MR or PET series, or a volume in NIfTI, NRRD or MHA"
        )
    for index, own in enumerate(frames):
        position, plane, measures, values = (
            _first(own, key) or _first(shared, key)
            for key in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
            )
        )
        content = _first(own, "FrameContentSequence")
        if position is None or plane is None or measures is None:
            raise CaseError(
                f"{path.name}: frame {index} has no position in the patient; give an image that has, or NIfTI"
            )
        yield _slice(path, index, header, position, plane, measures, values or header, content)


def _first(data: Dataset | None, key: str) -> Dataset | None:
    items = data.get(key) if data is not None else None
    return items[0] if items else None


def _slice(
    path: Path,
    index: int | None,
    header: Dataset,
    position: Dataset,
    plane: Dataset,
    measures: Dataset,
    values: Dataset,
    content: Dataset | None = None,
) -> Slice:
    name = path.name
    samples, kind = int(header.get("SamplesPerPixel", 1)), text(header, "PhotometricInterpretation")
    if samples != 1 or not kind.startswith("MONOCHROME"):
        raise CaseError(
            f"{name}: its pixels are colours ({kind or f'{samples} samples'}); give an image of grey values"
        )
    if "ModalityLUTSequence" in values:
        raise CaseError(
            f"{name}: its values are in a table (ModalityLUTSequence); give an image with RescaleSlope"
        )
    where = _numbers(name, position, "ImagePositionPatient", 3)
    directions = _numbers(name, plane, "ImageOrientationPatient", 6).reshape(2, 3)
    pixel = _numbers(name, measures, "PixelSpacing", 2)
    slope, intercept = float(values.get("RescaleSlope") or 1), float(values.get("RescaleIntercept") or 0)
    if not np.isfinite([slope, intercept]).all():
        raise CaseError(f"{name}: RescaleSlope is {slope}, RescaleIntercept {intercept}; give finite numbers")
    thickness = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0
    return Slice(
        path,
        index,
        where,
        directions,
        pixel,
        (int(header.Rows), int(header.Columns)),
        slope,
        intercept,
        abs(float(thickness)),
        kind == "MONOCHROME1",
        _order(header, content, index),
        text(header, "SOPInstanceUID"),
        int(header.get("BitsAllocated") or 16),
        int(header.get("NumberOfFrames") or 1),
    )


def _order(header: Dataset, content: Dataset | None, index: int | None) -> tuple[float, ...]:
    """By what slices at one position differ, as numbers, the slowest first."""
    keys = ("TemporalPositionIdentifier", "EchoNumbers", "EchoTime", "DiffusionBValue", "AcquisitionNumber")
    found = []
    for key in keys:
        value = header.get(key)
        found.append(float(value) if isinstance(value, int | float | str) and str(value).strip() else 0.0)
    time = content.get("TemporalPositionIndex") if content is not None else None
    return (float(time or 0), *found, float(header.get("InstanceNumber") or 0), float(index or 0))


def _numbers(name: str, data: Dataset, key: str, count: int) -> Float[np.ndarray, " n"]:
    values = data.get(key)
    try:
        found = np.array([float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise CaseError(
            f"{name}: {key} is {shown(None if values is None else str(values))}, not {count} numbers, so "
            "nothing says where it lies; give the original images"
        )
    return found


def _pixels(name: str, slices: list[Slice]) -> np.ndarray:
    """Values of all slices in order, integers where slopes and intercepts are whole numbers."""
    import pydicom

    rows, columns = slices[0].shape
    whole = all(one.slope.is_integer() and one.intercept.is_integer() for one in slices)
    shape = (len(slices), rows, columns)
    deep = max(one.bits for one in slices) > 16
    stored = sum(path.stat().st_size for path in {one.path for one in slices})
    size = 8 if deep else 4
    large = np.prod(shape, dtype=np.int64) * size > _LARGE
    check_size(name, shape, size, stored if large else 1 << 62, compressed=True)
    for path in {one.path for one in slices}:
        # A multi-frame file is decoded as a whole.
        one = next(one for one in slices if one.path == path)
        check_size(path.name, (one.frames, rows, columns), max(one.bits // 8, 1), 1 << 62)
    kind = (np.int64 if deep else np.int32) if whole else (np.float64 if deep else np.float32)
    voxels = np.empty(shape, kind)
    opened: tuple[Path | None, Any] = (None, None)
    for index, one in enumerate(slices):
        if opened[0] != one.path:
            try:
                data = pydicom.dcmread(one.path, force=True)
                _set_syntax(data)
                opened = one.path, data.pixel_array
            except Exception as error:
                raise unreadable(one.path, error) from error
        stored_values = opened[1] if one.frame is None else opened[1][one.frame]
        if stored_values.ndim == 3 and len(stored_values) == 1:
            stored_values = stored_values[0]
        if stored_values.shape != (rows, columns):
            raise CaseError(
                f"{one.path.name}: its pixels have shape {stored_values.shape}, its header says "
                f"{one.shape}; copy it again"
            )
        if whole:
            np.multiply(stored_values, int(one.slope), out=voxels[index], casting="unsafe", dtype=kind)
            voxels[index] += int(one.intercept)
        else:
            np.multiply(stored_values, one.slope, out=voxels[index], casting="unsafe", dtype=kind)
            voxels[index] += kind(one.intercept)
    low, high = int(np.iinfo(np.int16).min), int(np.iinfo(np.int16).max)
    small = whole and low <= voxels.min() and voxels.max() <= high
    return voxels.astype(np.int16) if small else voxels


def _set_syntax(data: Dataset) -> None:
    """Old files without a preamble do not name how they are written; pydicom has found it out."""
    import pydicom

    meta: Any = data.file_meta
    if "TransferSyntaxUID" not in meta:
        little, implicit = data.original_encoding[1], data.original_encoding[0]
        meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian
            if implicit
            else pydicom.uid.ExplicitVRLittleEndian
            if little
            else pydicom.uid.ExplicitVRBigEndian
        )


def _suv(voxels: np.ndarray, header: Dataset, notes: Notes) -> tuple[np.ndarray, str]:
    """PET as SUV by body weight; as it is, with a note, where the header does not say enough."""
    try:
        factor = suv_factor(header)
    except ValueError as why:
        notes.append(f"no SUV: {why}; the values are taken as they are")
        return voxels, ""
    return voxels.astype(np.float32) * np.float32(factor), "SUV"
