"""NIfTI-1 and NIfTI-2, .nii and .nii.gz, by nibabel.

A file's array is (i, j, k) with i the fastest; ours is its transpose (k, j, i), so no voxel moves.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Shaped

from lexor.errors import CaseError, Notes
from lexor.io.scans.model import (
    ANSWER_MARK,
    IMAGE_MARK,
    Scan,
    check_affine,
    check_numbers,
    check_size,
    flipped,
    is_sheared,
    reversed_axes,
    take_frame,
)
from lexor.io.scans.names import modality_of, name_of

_PLACE: Final = (
    *("sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z"),
)
_MILLIMETRES: Final = {"meter": 1000.0, "micron": 0.001}


def read_nifti(path: Path, frame: int | None = None) -> Scan:
    """One volume of a NIfTI file, with its scale applied.

    frame: which of a 4D file, from 0.
    Raises CaseError: nibabel cannot read it; it holds colours, complex numbers, or several volumes without a
    frame; its header promises more than the file has.
    """
    image = _open(path)
    header: Any = image.header
    dtype, shape = header.get_data_dtype(), tuple(int(length) for length in image.shape)
    check_numbers(path.name, dtype)
    volume, others = (*shape[:3], *(1,) * (3 - len(shape))), shape[3:]
    if math.prod(others[1:]) != 1:
        raise CaseError(f"{path.name}: has shape {shape}, several values a voxel; give one value a voxel")
    index = take_frame(path.name, others[:1], frame)
    # Frames before it must be there as well, but are not read.
    stored = path.stat().st_size - int(image.dataobj.offset) - index * math.prod(volume) * dtype.itemsize
    compressed = path.suffix.lower() == ".gz"
    check_size(path.name, volume, dtype.itemsize, path.stat().st_size if compressed else stored, compressed)

    notes = Notes()
    name = name_of(path)
    affine = _affine(path.name, image, notes)
    voxels = _voxels(path, image, shape, index).reshape(volume, order="F").transpose(2, 1, 0)
    return Scan(
        name,
        voxels,
        affine,
        modality_of(name),
        source=path,
        format="nifti",
        header=header.copy(),
        frame=index if math.prod(others) > 1 else None,
        warnings=notes.lines(path.name),
    )


def write_nifti(path: Path, voxels: Shaped[np.ndarray, "D H W"], scan: Scan, mark: str = IMAGE_MARK) -> None:
    """Write a volume on a scan's grid; of a NIfTI scan, all that its header says of the place is kept as it is.

    path: ends in .nii or .nii.gz. Nothing makes the writing atomic here. mark: what the header says of the file.
    """
    import nibabel as nib

    if voxels.dtype.kind == "b":
        voxels = voxels.view(np.uint8)
    data = voxels.transpose(2, 1, 0)
    affine = flipped(reversed_axes(scan.affine))
    kind: Any = nib.nifti1.Nifti1Image
    if isinstance(scan.header, nib.nifti2.Nifti2Header) or max(data.shape) > np.iinfo(np.int16).max:
        kind = nib.nifti2.Nifti2Image
    header: Any = kind.header_class()
    if scan.header is None:
        header.set_xyzt_units("mm")
        header.set_sform(affine, 1)
        # A qform is a rotation: it cannot hold the geometry of a tilted gantry.
        header.set_qform(affine, 0 if is_sheared(scan.affine) else 1)
    else:
        header.set_xyzt_units(_unit(scan.header))
        header["pixdim"][:4] = scan.header["pixdim"][:4]
        for key in _PLACE:
            header[key] = scan.header[key]
    header["descrip"] = mark
    # Without an affine nibabel leaves the header's as it is.
    nib.save(kind(data, None, header, dtype=voxels.dtype), path)


def is_ours(path: Path) -> bool:
    """Whether a NIfTI file bears the mark of answers."""
    try:
        description = bytes(_open(path).header["descrip"]).rstrip(b"\0")
    except (CaseError, OSError):
        return False
    return description == ANSWER_MARK.encode()


def _open(path: Path) -> Any:
    import nibabel as nib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Any = nib.load(path)
    except Exception as error:  # zlib, struct and nibabel raise a dozen unrelated types on damaged input
        raise _unreadable(path, error) from error
    if not isinstance(image, nib.nifti1.Nifti1Pair):
        raise CaseError(f"{path.name}: holds {type(image).__name__}, not a volume; give NIfTI of an image")
    return image


def _unreadable(path: Path, error: Exception) -> CaseError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return CaseError(f"{path.name}: cannot be read as NIfTI ({reason}); it is damaged, copy it again")


def _voxels(path: Path, image: Any, shape: tuple[int, ...], index: int) -> np.ndarray:
    """Those of one volume, in the smallest type that holds them with their scale."""
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.volumeutils import apply_read_scaling

    header = image.header
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # nibabel scales in float64; what has 16 bits needs no more than float32.
            raw = ArrayProxy(  # type: ignore[no-untyped-call]
                image.file_map["image"].file_like,
                (shape, header.get_data_dtype(), image.dataobj.offset, 1.0, 0.0),
                mmap=False,
            )
            found = np.asanyarray(raw[..., index, *(0,) * (len(shape) - 4)] if len(shape) > 3 else raw)
            slope, inter = image.dataobj.slope, image.dataobj.inter
            narrow = found.dtype.itemsize <= (4 if found.dtype.kind == "f" else 2)
            kind = np.float32 if narrow else np.float64
            scaled = apply_read_scaling(found, kind(slope), kind(inter))
    except Exception as error:
        raise _unreadable(path, error) from error
    native: np.ndarray = scaled.astype(scaled.dtype.newbyteorder("="), copy=False)
    return native


def _unit(header: Any) -> str:
    """Of lengths; "unknown" where the header has a number that stands for none."""
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:
        return "unknown"


def _affine(name: str, image: Any, notes: Notes) -> Float[np.ndarray, "4 4"]:
    header = image.header
    affine = np.array(header.get_best_affine(), np.float64)
    unit = _unit(header)
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)
    if not header["sform_code"] and not header["qform_code"]:
        notes.append(
            "its header says nothing of the orientation; the axes are taken as the patient's, as nibabel does"
        )
    found = flipped(reversed_axes(affine))
    check_affine(name, found)
    return found
