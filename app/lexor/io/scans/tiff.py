"""TIFF of several pages, ImageJ's and OME's, by tifffile; the sizes of voxels where the file says them."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped

from lexor.errors import CaseError, Notes
from lexor.io.scans.model import (
    ANSWER_MARK,
    IMAGE_MARK,
    Scan,
    check_affine,
    check_numbers,
    check_size,
    scaled,
    take_frame,
)
from lexor.io.scans.names import modality_of, name_of

_MILLIMETRES: Final = {
    **{"m": 1e3, "cm": 10.0, "mm": 1.0, "nm": 1e-6, "pm": 1e-9, "Å": 1e-7, "inch": 25.4, "in": 25.4},
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "\\u00B5m"), 1e-3),
}
_DEPTH: Final = "ZQI"  # slices; tifffile's Q and I are pages of which the file does not say what they are


def read_tiff(path: Path, frame: int | None = None) -> Scan:
    """One volume of a TIFF: its pages are the slices.

    frame: which of several channels, colours or time points, from 0 in the order of the file.
    Raises CaseError: tifffile cannot read it; several volumes without a frame; its header promises more than it has.
    """
    import tifffile

    notes = Notes()
    try:
        with _quiet(), tifffile.TiffFile(path) as file:
            voxels, index = _volume(path, file, frame, notes)
            spacing = _spacing(file, notes)
    except CaseError:
        raise
    except Exception as error:  # tifffile, zlib and struct raise a dozen unrelated types on damaged input
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CaseError(
            f"{path.name}: cannot be read as TIFF ({reason}); save it again, uncompressed"
        ) from error
    name = name_of(path)
    affine = scaled(spacing)
    check_affine(path.name, affine)
    modality = modality_of(name)
    return Scan(
        name, voxels, affine, modality, "", path, "tiff", frame=index, warnings=notes.lines(path.name)
    )


def write_tiff(path: Path, voxels: Shaped[np.ndarray, "D H W"], scan: Scan, mark: str = IMAGE_MARK) -> None:
    """Write a volume as OME-TIFF with a scan's spacing: TIFF has no place for directions. Not atomic here.

    mark: what the file says of itself.
    """
    import tifffile

    if voxels.dtype.kind == "b":
        voxels = voxels.view(np.uint8)
    sizes: dict[str, Any] = {"axes": "ZYX"}
    for axis, length in zip("ZYX", scan.spacing, strict=True):
        sizes |= {f"PhysicalSize{axis}": length * 1000, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(
        path,
        np.ascontiguousarray(voxels),
        ome=True,
        compression="zlib",
        photometric="minisblack",
        software=mark,
        metadata=sizes,
    )


def is_ours(path: Path) -> bool:
    """Whether a file bears the mark of answers."""
    import tifffile

    try:
        with _quiet(), tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            return bool(page.software == ANSWER_MARK)
    except Exception:  # see `read_tiff`
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """tifffile warns and logs of every tag that is not as it should be; what matters is raised."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


def _volume(path: Path, file: Any, frame: int | None, notes: Notes) -> tuple[np.ndarray, int | None]:
    series = file.series[0]
    if len(file.series) > 1:
        notes.append(f"holds {len(file.series)} images of different kinds; the first is taken")
    check_numbers(path.name, np.dtype(series.dtype))
    axes, shape = series.axes, tuple(int(length) for length in series.shape)
    depth = next((axis for axis in _DEPTH if axis in axes), None)
    if depth is None:  # pages in time, or channels, with one slice each; alone they are the slices
        others = [axis for axis, length in zip(axes, shape, strict=True) if axis not in "YXS" and length > 1]
        depth = others[0] if others == ["T"] and "S" not in axes else None
    if "Y" not in axes or "X" not in axes:
        raise CaseError(f"{path.name}: its axes are {axes}; give pages of rows and columns")
    order = [axis for axis in axes if axis not in f"{depth or ''}YX"]
    extra = tuple(shape[axes.index(axis)] for axis in order)
    what = "colours" if order == ["S"] else f"volumes or channels (axes {''.join(order)})"
    index = take_frame(path.name, extra, frame, what)
    check_size(path.name, shape, np.dtype(series.dtype).itemsize, path.stat().st_size, compressed=True)
    whole = _decoded(path, series)
    if depth == "T":
        notes.append("its pages are time points; they are taken as slices")
    place = dict(zip(order, np.unravel_index(index, extra or (1,)), strict=False))
    found = whole[tuple(place.get(axis, slice(None)) for axis in axes)]
    kept = [axis for axis in axes if axis not in place]
    if depth is None:
        return np.ascontiguousarray(found.transpose([kept.index(a) for a in "YX"])[None]), None
    voxels = np.ascontiguousarray(found.transpose([kept.index(axis) for axis in f"{depth}YX"]))
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False), index if math.prod(extra) > 1 else None


def _decoded(path: Path, series: Any) -> np.ndarray:
    """All of a series; what tifffile has no decoder for, as LZW and JPEG, is left to ITK's libtiff."""
    try:
        found: np.ndarray = series.asarray()
        return found
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="TIFFImageIO"))
    if values.size != math.prod(series.shape):
        raise ValueError(f"pages of {values.shape} where {series.shape} is expected")
    return values.reshape(series.shape)


def _spacing(file: Any, notes: Notes) -> tuple[float, float, float] | None:
    """Millimetres (z, y, x), None where the file does not say them; resolution tags alone are those of a printer."""
    found = _of_ome(file) if file.is_ome else _of_imagej(file) if file.is_imagej else None
    if found is None:
        notes.append("it does not say how large its voxels are; they count as cubes of 1 mm")
        return None
    z, y, x = found
    if z is None:
        notes.append("it does not say the distance of slices; it is taken as that of rows")
    return (y if z is None else z), y, x


def _of_ome(file: Any) -> tuple[float | None, float, float] | None:
    import tifffile

    images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]

    def length(axis: str) -> float | None:
        value, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        factor = _MILLIMETRES.get(str(unit))
        return float(value) * factor if value is not None and factor is not None else None

    y, x = length("Y"), length("X")
    return None if y is None or x is None else (length("Z"), y, x)


def _of_imagej(file: Any) -> tuple[float | None, float, float] | None:
    said = file.imagej_metadata or {}
    factor = _MILLIMETRES.get(str(said.get("unit")))
    tags = file.pages[0].tags
    if factor is None or "XResolution" not in tags or "YResolution" not in tags:
        return None
    x, y = (tags[key].value for key in ("XResolution", "YResolution"))  # pixels a unit, as fractions
    if not x[0] or not y[0]:
        return None
    depth = said.get("spacing")
    return float(depth) * factor if depth else None, y[1] / y[0] * factor, x[1] / x[0] * factor
