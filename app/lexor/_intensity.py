"""Conversion of voxel values of any numeric dtype to the challenge's 0..255."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Shaped, UInt8

from lexor._errors import CaseError, Notes


def to_uint8(volume: Shaped[np.ndarray, "D H W"], notes: Notes) -> UInt8[np.ndarray, "D H W"]:
    """Volume as uint8; uint8 is left alone, anything else is converted with a note that says how.

    Voxels that are not finite become the smallest finite value. Values within 0..255 with a maximum above 1
    are taken to be on the challenge's scale already and are rounded; all others are clipped to their 0.5 and
    99.5 percentiles, which become 0 and 255 (paper section 3.3). Where these coincide the minimum and the
    maximum take their place, and a constant volume becomes 0.
    notes: is added to, one line without the file's name each.
    Raises CaseError where voxels are not real numbers or none is finite.
    """
    if volume.dtype == np.uint8:
        return volume
    if volume.dtype.kind not in "biuf":
        raise CaseError(f"imgs has dtype {volume.dtype}; give real numbers, best uint8 0..255")
    # float32 wherever it holds the values exactly: volumes are large.
    narrow = volume.dtype.itemsize <= (4 if volume.dtype.kind == "f" else 2)
    with np.errstate(over="ignore"):  # of an extended precision; infinities are dealt with next
        values: npt.NDArray[np.floating[Any]] = volume.astype(np.float32 if narrow else np.float64)
    _replace_non_finite(values, notes)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 1 < high <= 255:
        notes.append(f"imgs is {volume.dtype} within 0..255; its values are rounded to uint8, give uint8")
        return _rounded(values)
    # Differences of the largest numbers that a dtype holds would overflow.
    limits = np.finfo(values.dtype)
    bound = float(limits.max) / 4
    np.clip(values, -bound, bound, out=values)
    start, end = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    mapped = "its percentiles 0.5 and 99.5"
    if start == end:
        start, end = float(values.min()), float(values.max())
        mapped = "its minimum and maximum"
    notes.append(
        f"imgs is {volume.dtype} in {low:g}..{high:g}; {start:g}..{end:g} ({mapped}) become 0..255, "
        "give uint8 windowed for the modality"
    )
    if end - start < limits.tiny:
        return np.zeros(volume.shape, np.uint8)
    np.clip(values, start, end, out=values)
    values -= start
    values /= end - start
    values *= 255
    return _rounded(values)


def _rounded(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    np.rint(values, out=values)
    return values.astype(np.uint8)


def _replace_non_finite(values: npt.NDArray[np.floating[Any]], notes: Notes) -> None:
    finite = np.isfinite(values)
    missing = values.size - int(np.count_nonzero(finite))
    if missing == values.size:
        raise CaseError("imgs has no finite voxel; give a volume with values")
    if missing:
        lowest = values.min(where=finite, initial=np.inf)
        values[~finite] = lowest
        notes.append(
            f"imgs has {missing:,} voxels that are NaN or infinite; they become {float(lowest):g}, "
            "its smallest value, give finite values"
        )
