"""What users of a session point with, as the package knows it; whatever else it is, one line says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool

from lexor.errors import CaseError, shown
from lexor.geometry import Box, Voxel, extent, nearest, voxel_index
from lexor.io.labels import as_integers


def voxel_of(point: Any, what: str, rounded: Callable[[float], int] = nearest) -> Voxel:
    """Three voxel indices (z, y, x), each a number of any type; raises CaseError where they are not."""
    try:
        z, y, x = (voxel_index(place, rounded) for place in point)
    except (TypeError, ValueError):
        raise CaseError(f"{what} is {shown(point)}; give voxel indices (z, y, x)") from None
    return z, y, x


def voxel_in(shape: tuple[int, ...], point: Any) -> Voxel:
    """The voxel of a click in a volume of that shape; raises CaseError where it is none."""
    voxel = voxel_of(point, "click")
    if not all(0 <= place < size for place, size in zip(voxel, shape, strict=True)):
        raise CaseError(f"click {voxel} is outside the volume of shape {shape}; give (z, y, x) inside it")
    return voxel


def box_of(lower: Any, upper: Any, z_mid: Any = None) -> Box:
    """The box from its first voxel to just outside; fractions are rounded outwards, z_mid None is the middle slice.

    Raises:
        CaseError: they are no voxel indices, or no voxel is between them.
    """
    first, end = voxel_of(lower, "lower", math.floor), voxel_of(upper, "upper", math.ceil)
    try:
        return Box(first, end, (first[0] + end[0] - 1) // 2 if z_mid is None else voxel_index(z_mid))
    except CaseError as error:
        raise CaseError(f"box: {error}") from None


def mask_of(mask: Any, shape: tuple[int, ...], what: str) -> Bool[np.ndarray, "D H W"]:
    """Where a mask is not 0: booleans or whole numbers of a volume's shape.

    Raises:
        CaseError: it is of another shape, or has fractions, as probabilities have.
    """
    array = np.asarray(mask)
    if array.shape != shape:
        raise CaseError(f"{what} has shape {array.shape}, the volume {shape}; give one of its shape")
    try:
        inside: np.ndarray = as_integers(array) != 0
    except CaseError as error:
        raise CaseError(f"{what} {error}") from None
    return inside


def region_of(
    mask: Any, shape: tuple[int, ...], what: str, at: Any = None
) -> tuple[Bool[np.ndarray, "d h w"], Voxel]:
    """A mask that is not empty, cut down to what is marked, and its first voxel.

    Args:
        mask: booleans or whole numbers, of the volume; or of a part of it.
        shape: of the volume.
        what: it is.
        at: the part's first voxel in the volume; None: the mask is of the volume.

    Raises:
        CaseError: it is empty, of another shape, or reaches outside; or it has fractions.
    """
    if at is None:
        inside, first = mask_of(mask, shape, what), (0, 0, 0)
    else:
        inside, first = mask_of(mask, np.shape(mask), what), voxel_of(at, "at")
        if inside.ndim != 3 or any(
            start < 0 or start + size > whole
            for start, size, whole in zip(first, inside.shape, shape, strict=True)
        ):
            raise CaseError(
                f"{what} of shape {inside.shape} at {first} reaches outside the volume of shape {shape}"
            )
    where = extent(inside)
    if where is None:
        raise CaseError(f"{what} is empty; mark a voxel at least")
    z, y, x = (start + s.start for start, s in zip(first, where, strict=True))
    return inside[where], (z, y, x)
