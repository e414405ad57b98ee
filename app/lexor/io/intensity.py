"""Conversion of voxel values of any numeric dtype to the challenge's 0..255."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Shaped, UInt8

from lexor.errors import CaseError, Notes

Counts = npt.NDArray[np.int64] | None

_NEARLY: Final = 1e-3
_FEW_LEVELS: Final = 32


def to_uint8(
    volume: Shaped[np.ndarray, "D H W"], notes: Notes, expected: bool = False
) -> UInt8[np.ndarray, "D H W"]:
    """Volume as uint8; uint8 is left alone, anything else is converted with a note that says how.

    Voxels that are not finite become the smallest finite value. Then, by the values and not by their dtype:
    - whole numbers (to within 0.001) within 0..255 with a maximum above 1 are on the challenge's scale already
      and stay as they are;
    - all others are clipped to their 0.5 and 99.5 percentiles, which become 0 and 255 (paper section 3.3).
      A value that more than half of the voxels have, as the empty space of a PET, is a background: the
      percentiles are those of the other voxels, and the background is kept in their range. Where they
      coincide the minimum and the maximum take their place, and a constant volume becomes 0.
    notes: is added to, one line without the file's name each; it says so where few grey levels are left.
    expected: nobody could have given uint8, so the conversion itself is noted only where few grey levels are left.
    Raises CaseError where voxels are not real numbers or none is finite.
    """
    if volume.dtype == np.uint8:
        return volume
    if volume.dtype.kind not in "biuf":
        raise CaseError(f"imgs has dtype {volume.dtype}; give real numbers, best uint8 0..255")
    if volume.dtype.kind in "iu" and volume.dtype.itemsize <= 2:
        return _from_levels(volume, notes, expected)
    # float32 wherever it holds the values exactly: volumes are large.
    narrow = volume.dtype.itemsize <= (4 if volume.dtype.kind == "f" else 2)
    with np.errstate(over="ignore"):  # of an extended precision; infinities are dealt with next
        values: npt.NDArray[np.floating[Any]] = volume.astype(np.float32 if narrow else np.float64)
    _replace_non_finite(values, notes)
    return _converted(values, None, volume.dtype, notes, expected)


def _from_levels(
    volume: Shaped[np.ndarray, "D H W"], notes: Notes, expected: bool
) -> UInt8[np.ndarray, "D H W"]:
    """As `to_uint8`, of whole numbers of two bytes at most: so few different ones are converted once each."""
    lowest = int(volume.min())
    counts = np.zeros(int(volume.max()) - lowest + 1, np.int64)
    for part in volume:
        counts += np.bincount(np.subtract(part, lowest, dtype=np.int32).ravel(), minlength=counts.size)
    present = np.flatnonzero(counts)
    levels = (present + lowest).astype(np.float32)
    table = np.zeros(counts.size, np.uint8)
    table[present] = _converted(levels, counts[present], volume.dtype, notes, expected)
    found = np.empty(volume.shape, np.uint8)
    for part, out in zip(volume, found, strict=True):
        np.take(table, np.subtract(part, lowest, dtype=np.int32), out=out)
    return found


def _converted(
    values: npt.NDArray[np.floating[Any]], counts: Counts, dtype: np.dtype[Any], notes: Notes, expected: bool
) -> npt.NDArray[np.uint8]:
    """Finite values as uint8; they are changed.

    Args:
        values: of the voxels; or those that there are, rising.
        counts: how many voxels have each; None: each is a voxel's.
        dtype: of the volume.
        notes, expected: see `to_uint8`.
    """
    low, high = float(values.min()), float(values.max())
    if low > -0.5 and 1 < high < 255.5 and (dtype.kind in "iu" or _are_whole(values)):
        found = _rounded(values)
        few = _few(found)
        if expected and not few:
            return found
        notes.append(f"imgs is {dtype} of whole numbers within 0..255{few}; they are kept, give uint8")
        return found
    # Differences of the largest numbers that a dtype holds would overflow.
    limits = np.finfo(values.dtype)
    bound = float(limits.max) / 4
    np.clip(values, -bound, bound, out=values)
    start, end = _range(values, counts)
    mapped = "its percentiles 0.5 and 99.5"
    if start == end:
        start, end = float(values.min()), float(values.max())
        mapped = "its minimum and maximum"
    if end - start < limits.tiny:
        found = np.zeros(values.shape, np.uint8)
    else:
        np.clip(values, start, end, out=values)
        values -= start
        values /= end - start
        values *= 255
        found = _rounded(values)
    few = _few(found)
    if expected and not few:
        return found
    notes.append(
        f"imgs is {dtype} in {low:g}..{high:g}; {start:g}..{end:g} ({mapped}) become 0..255{few}, "
        "give uint8 windowed for the modality"
    )
    return found


def _range(values: npt.NDArray[np.floating[Any]], counts: Counts) -> tuple[float, float]:
    """Percentiles 0.5 and 99.5, of what is not background."""
    start, middle, end = _percentiles(values, counts, (0.5, 50, 99.5))
    others = values != middle  # what more than half of the voxels have is their median
    total = values.size if counts is None else int(counts.sum())
    left = int(np.count_nonzero(others)) if counts is None else int(counts[others].sum())
    if not 0 < 2 * left < total:
        return start, end
    start, end = _percentiles(values[others], None if counts is None else counts[others], (0.5, 99.5))
    return min(start, middle), max(end, middle)


def _percentiles(
    values: npt.NDArray[np.floating[Any]], counts: Counts, shares: tuple[float, ...]
) -> list[float]:
    """As numpy's percentiles of the voxels, to the last bit."""
    if counts is None:
        return [float(value) for value in np.percentile(values, shares)]
    ends = np.cumsum(counts)
    at = np.true_divide(shares, 100) * (ends[-1] - 1)
    lower = values[np.searchsorted(ends, np.floor(at), side="right")]
    upper = values[np.searchsorted(ends, np.minimum(np.floor(at) + 1, ends[-1] - 1), side="right")]
    # The same two voxels, once as themselves: what is between them is numpy's business.
    between = at - np.floor(at)
    return [
        float(np.quantile(np.array(pair, values.dtype), share))
        for *pair, share in zip(lower, upper, between, strict=True)
    ]


def _are_whole(values: npt.NDArray[np.floating[Any]]) -> bool:
    return all(bool((np.abs(part - np.rint(part)) <= _NEARLY).all()) for part in values)


def _few(volume: npt.NDArray[np.uint8]) -> str:
    """Says how many grey levels a volume has, where they are few."""
    present = np.zeros(256, bool)
    for part in volume:
        present[part] = True
    levels = int(np.count_nonzero(present))
    return f", {levels} grey level{'s' * (levels != 1)}" if levels < _FEW_LEVELS else ""


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
