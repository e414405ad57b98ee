"""Kinds of objects that are hard for reasons of their own, to be scored apart from the others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from lexor.geometry import Box
from lexor.inference.framing import in_plane_ratio

TINY = "tiny"
THIN = "thin"
LEAVES_BOX = "leaves box"
NONE = "none of these"
STRATA = (TINY, THIN, LEAVES_BOX, NONE)

TINY_VOXELS = 500
THIN_RADIUS = 2.0
COVERED = 0.6


def strata_of(
    mask: Bool[np.ndarray, "D H W"], box: Box, spacing: tuple[float, float, float] | None = None
) -> tuple[str, ...]:
    """The strata of `STRATA` that an object belongs to; at least one.

    tiny: under 500 voxels. thin: `inscribed_radius` under 2 pixels, so nowhere wider than about four, and a
    shift of its surface by one pixel costs half of it. leaves box: the box covers under 60 % of its voxels.

    Args:
        mask: the object, not empty.
        box: the box that the model is given, that is with its margin: what lies outside was never pointed at.
        spacing: of the case.
    """
    found = []
    voxels = int(np.count_nonzero(mask))
    if voxels < TINY_VOXELS:
        found.append(TINY)
    if inscribed_radius(mask, spacing) < THIN_RADIUS:
        found.append(THIN)
    if np.count_nonzero(mask[box.slices]) < COVERED * voxels:
        found.append(LEAVES_BOX)
    return tuple(found) or (NONE,)


def inscribed_radius(
    mask: Bool[np.ndarray, "D H W"], spacing: tuple[float, float, float] | None = None
) -> float:
    """Radius of the largest ball inside an object, in in-plane pixels; 0 where the mask is empty.

    The distance from a voxel's centre to the nearest centre outside, less the half pixel up to the surface
    between them. Slices are `in_plane_ratio` pixels apart, so the ball is one of millimetres, but counted in
    pixels: whether a shape can be drawn is a matter of the grid and not of its size. What is outside the
    volume is outside the object: only what is in it can be drawn.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    where = find_objects(mask.astype(np.uint8))
    if not where:
        return 0.0
    padded = np.pad(mask[where[0]], 1)
    distance = distance_transform_edt(padded, sampling=(in_plane_ratio(spacing), 1, 1))
    return float(distance.max()) - 0.5
