"""Where clients point, as numbers in requests: converted once to voxels (z, y, x) and half-open boxes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lexor.errors import CaseError, shown
from lexor.geometry import Shape, Voxel

# A voxel's index as a float may be off by rounding.
_NEARLY = 1e-3
_FARTHEST = 2**31


def numbers(values: Any, count: int, what: str) -> list[float]:
    """So many finite numbers; raises CaseError where they are none."""
    good = (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        and all(abs(v) < _FARTHEST for v in values)
    )
    if not good:
        raise CaseError(f"{what} is {shown(values)}; give {count} numbers")
    return [float(v) for v in values]


def intervals(values: Any, what: str) -> list[tuple[float, float]]:
    """Three intervals, one an axis, none of them empty; raises CaseError where they are not."""
    if not isinstance(values, list) or len(values) != 3:
        raise CaseError(f"{what} is {shown(values)}; give [[z0, z1], [y0, y1], [x0, x1]]")
    found = []
    for value in values:
        low, high = numbers(value, 2, what)
        if not low < high:
            raise CaseError(
                f"{what} is {shown(values)}; give two different bounds on each axis, the lower first"
            )
        found.append((low, high))
    return found


def drawn_box(values: Any) -> tuple[Voxel, Voxel]:
    """The voxels of a box as nnInteractive's clients draw it: half-open, in coordinates that are whole in the middle
    of a voxel.

    A voxel belongs to it whose middle does. An interval of length 1 is one slice, wherever the slice was drawn.

    Returns:
        Its first voxel, and the one just outside.
    """
    low, high = [], []
    for start, stop in intervals(values, "bbox_coords"):
        if abs(stop - start - 1) < _NEARLY:
            first = math.floor(start + 0.5)
            end = first + 1
        else:
            first, end = math.ceil(start - _NEARLY), math.ceil(stop - _NEARLY)
        low.append(first)
        high.append(max(end, first + 1))
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def part(values: Any, shape: Shape, what: str) -> tuple[slice, slice, slice]:
    """The part of a volume that whole-numbered intervals name; all of it where they are None.

    Raises:
        CaseError: they are no such intervals, or reach outside.
    """
    if values is None:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    found = []
    for (low, high), size in zip(intervals(values, what), shape, strict=True):
        if low != int(low) or high != int(high) or low < 0 or high > size:
            raise CaseError(f"{what} is {shown(values)}, the volume {shape}; give voxel indices inside it")
        found.append(slice(int(low), int(high)))
    return found[0], found[1], found[2]


def spacing(values: Any, shape: Shape) -> tuple[float, float, float] | None:
    """Millimetres (z, y, x); None where nothing was said, or only that of a picture's two axes.

    Viewers give a mirrored axis a negative scale; its length counts.

    Raises:
        CaseError: it is no such thing.
    """
    if values is None:
        return None
    if isinstance(values, list) and len(values) == 2 and shape[0] == 1:
        values = [1.0, *values]
    z, y, x = (abs(length) for length in numbers(values, 3, "spacing"))
    if not min(z, y, x) > 0:
        raise CaseError(f"spacing is {shown(values)}; give three lengths in millimetres, none of them 0")
    return z, y, x


def marked(mask: np.ndarray) -> np.ndarray:
    """Where a mask is not 0, booleans of its shape.

    Raises:
        CaseError: it holds something that is no number.
    """
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise CaseError("the mask holds NaN or infinity; give 0 and 1")
    found: np.ndarray = mask != 0
    return found
