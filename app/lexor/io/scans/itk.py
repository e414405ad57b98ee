"""NRRD and MHA/MHD by SimpleITK, whose geometry is ours: LPS, in millimetres."""
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float, Shaped

from lexor.errors import CaseError, shown
from lexor.io.npz import MAX_ARRAY_BYTES
from lexor.io.scans.model import (
    ANSWER_MARK,
    IMAGE_MARK,
    Scan,
    SourceFormat,
    affine_of,
    check_affine,
    check_size,
    reversed_axes,
    take_frame,
)
from lexor.io.scans.names import modality_of, name_of

if TYPE_CHECKING:
    import SimpleITK as sitk

# What our own files are told by.
_MARK_KEY: Final = "Creator"
_HEADER: Final = 1 << 16  # bytes; a longer text is no header
_CHUNK: Final = 1 << 20
_AXES: Final = re.compile(rb"^NDims\s*=?\s*([^\n\r]*?)\s*$", re.MULTILINE)
_DEFLATED: Final = re.compile(rb"^CompressedData\s*=\s*[Tt1]", re.MULTILINE)
_DATA_FILE: Final = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.*?)\s*$", re.MULTILINE)


def read_itk(path: Path, kind: SourceFormat, frame: int | None = None) -> Scan:
    """One volume of an NRRD or MetaImage file.

    frame: which of a 4D file, or which of several values a voxel, from 0.
    Raises CaseError: SimpleITK cannot read it; it holds complex numbers, or several volumes or values a
    voxel without a frame; its header promises more than the file has.
    """
    import SimpleITK as sitk

    with _quiet(path, kind):
        stored = _stored(path)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size, pixel = reader.GetSize(), sitk.GetPixelIDValueAsString(reader.GetPixelID())
        channels = reader.GetNumberOfComponents()
        if "complex" in pixel or not 2 <= len(size) <= 4:
            raise CaseError(f"{path.name}: holds {pixel} of {len(size)} axes; give real numbers of 3 axes")
        times = size[3] if len(size) > 3 else 1
        if channels > 1:
            what = "colours or values a voxel"
            index = take_frame(path.name, (channels,), frame, what)
            if times > 1:
                raise CaseError(f"{path.name}: holds {channels} {what} and {times} volumes; give one of both")
        else:
            index = take_frame(path.name, (times,), frame)
        volume = (*size[:3], 1)[:3]
        check_size(path.name, volume[::-1], channels * _bytes(pixel), stored, compressed=True)
        if len(size) > 3:
            reader.SetExtractSize([*size[:3], 0])
            reader.SetExtractIndex([0, 0, 0, index if channels == 1 else 0])
        image = reader.Execute()
        if channels > 1:
            image = sitk.VectorIndexSelectionCast(image, index)
        voxels = sitk.GetArrayFromImage(image)
    affine = _affine(image)
    check_affine(path.name, affine)
    name = name_of(path)
    several = times > 1 or channels > 1
    voxels = voxels.reshape(volume[::-1])
    return Scan(name, voxels, affine, modality_of(name), "", path, kind, frame=index if several else None)


def write_itk(path: Path, voxels: Shaped[np.ndarray, "D H W"], scan: Scan, mark: str = IMAGE_MARK) -> None:
    """Write a volume on a scan's grid as .nrrd or .mha, compressed. Nothing makes the writing atomic here.

    mark: what the header says of the file.
    Raises CaseError where the grid has no right angles: these formats have no place for it.
    """
    import SimpleITK as sitk

    check_right_angles(scan)
    if voxels.dtype.kind == "b":
        voxels = voxels.view(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    affine = reversed_axes(scan.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetMetaData(_MARK_KEY, mark)
    with _quiet(path, "nrrd"):
        sitk.WriteImage(image, str(path), useCompression=True)


def check_right_angles(scan: Scan) -> None:
    """Raises CaseError where a scan's grid has none: NRRD and MHA have no place for it."""
    if scan.sheared:
        raise CaseError(
            f"{scan.name}: its gantry was tilted, and NRRD and MHA hold only right angles; "
            "give --format nifti or dicom-seg"
        )


def is_ours(path: Path) -> bool:
    """Whether a file bears the mark of answers."""
    import SimpleITK as sitk

    try:
        with _quiet(path, "nrrd"):
            _stored(path)
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            return bool(reader.HasMetaDataKey(_MARK_KEY) and reader.GetMetaData(_MARK_KEY) == ANSWER_MARK)
    except CaseError:
        return False


def _affine(image: sitk.Image) -> Float[np.ndarray, "4 4"]:
    directions = np.eye(3)
    origin, spacing = np.zeros(3), np.ones(3)
    axes = image.GetDimension()
    directions[:axes, :axes] = np.reshape(image.GetDirection(), (axes, axes))
    origin[:axes], spacing[:axes] = image.GetOrigin(), image.GetSpacing()
    return affine_of(origin.tolist(), directions, spacing.tolist())


def _bytes(pixel: str) -> int:
    """Of a voxel, by ITK's name of its type, as "vector of 16-bit signed integer"."""
    bits = re.search(r"(\d+)-bit", pixel)
    return int(bits[1]) // 8 if bits else 8


def _stored(path: Path) -> int:
    """The bytes that the voxels can be in: of the file, or the file that its header names.

    What makes ITK crash or never end is found here: MetaIO believes any number of axes, and reads on in a
    stream that is damaged.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER)
    for axes in _AXES.findall(head):
        if axes not in (b"2", b"3", b"4"):
            raise CaseError(f"{path.name}: NDims is {shown(axes.decode('latin1'))}; give 2 to 4 axes")
    named = _DATA_FILE.search(head.partition(b"\n\n")[0])
    data, start = path, 0
    if named is not None and named[1].upper() != b"LOCAL":
        where = named[1].decode("utf-8", "replace")
        if where.upper().startswith("LIST") or "%" in where:
            raise CaseError(
                f"{path.name}: its voxels are in several files; give a file that holds them, as .nrrd or .mha"
            )
        data = path.parent / where
        if not data.is_file():
            raise CaseError(
                f"{path.name}: its voxels are in {where}, which is not there; put it beside the header"
            )
    elif named is not None:
        start = head.index(b"\n", named.start()) + 1
    if _DEFLATED.search(head):
        _check_stream(path.name, data, start)
    return data.stat().st_size


def _check_stream(name: str, data: Path, start: int) -> None:
    """Raises CaseError where a deflated stream is damaged, or longer than a volume may be."""
    stream, size = zlib.decompressobj(), 0
    with data.open("rb") as file:
        file.seek(start)
        try:
            while not stream.eof and size <= MAX_ARRAY_BYTES and (chunk := file.read(_CHUNK)):
                while chunk and not stream.eof and size <= MAX_ARRAY_BYTES:
                    size += len(stream.decompress(chunk, _CHUNK))
                    chunk = stream.unconsumed_tail
        except zlib.error as error:
            raise CaseError(
                f"{name}: its voxels cannot be read ({error}); it is damaged, copy it again"
            ) from None
    if not stream.eof:
        raise CaseError(f"{name}: its voxels end too early or too late; it is damaged, copy it again")


@contextmanager
def _quiet(path: Path, kind: SourceFormat) -> Iterator[None]:
    """ITK's errors as one line, and none of its warnings on the terminal."""
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    except CaseError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason: Any = lines[-1].strip()[:200] if lines else type(error).__name__
        raise CaseError(
            f"{path.name}: cannot be read or written as {kind.upper()} ({reason}); it is damaged, copy it again"
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
