"""How well a mask meets the truth: overlap of the volumes (DSC) and of the surfaces (NSD)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lexor.geometry import extent

# The organisers compute no NSD up to this DSC and take 0 (CVPR25_iter_eval.py).
NSD_NEEDS_DSC = 0.2


def dice(prediction: Bool[np.ndarray, "D H W"], truth: Bool[np.ndarray, "D H W"]) -> float:
    """Dice similarity coefficient 2|P and G| / (|P| + |G|) (paper eq. 3); 1 where both are empty."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return 1.0
    return 2 * int(np.count_nonzero(prediction & truth)) / total


def nsd(
    prediction: Bool[np.ndarray, "D H W"],
    truth: Bool[np.ndarray, "D H W"],
    spacing_zyx: Sequence[float],
    tolerance: float = 2.0,
) -> float:
    """`surface_dice` of one label, but 0 where its DSC is 0.2 or less, as the organisers do it for a case.

    Args, Returns, Raises: see `surface_dice`.
    """
    if dice(prediction, truth) <= NSD_NEEDS_DSC:
        return 0.0
    return surface_dice(prediction, truth, spacing_zyx, tolerance)


def surface_dice(
    prediction: Bool[np.ndarray, "D H W"],
    truth: Bool[np.ndarray, "D H W"],
    spacing_zyx: Sequence[float],
    tolerance: float = 2.0,
) -> float:
    """Normalised surface Dice: the share of both surfaces that lies within a tolerance of the other one.

    A surface element sits at each corner of 2x2x2 voxels that are not all alike and has the area of the
    marching-cubes triangles there; a distance is that to the nearest corner of the other surface (DeepMind's
    surface-distance, which the organisers run). 0 where one mask is empty; 1 where both are, a case they
    never meet.

    Args:
        spacing_zyx: millimetres between voxels along the array's axes. The organisers take the file's order.
        tolerance: millimetres.

    Returns:
        0..1.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    from scipy.ndimage import distance_transform_edt

    if prediction.any() != truth.any():
        return 0.0
    where = extent(prediction | truth)
    if where is None:
        return 1.0
    spacing = (float(spacing_zyx[0]), float(spacing_zyx[1]), float(spacing_zyx[2]))
    areas = _areas(spacing)
    codes = [_corner_codes(mask[where]) for mask in (prediction, truth)]
    surfaces = [(code > 0) & (code < 255) for code in codes]
    near, total = 0.0, 0.0
    for code, surface, other in zip(codes, surfaces, reversed(surfaces), strict=True):
        area = areas[code[surface]]
        distance = distance_transform_edt(~other, sampling=spacing)[surface]
        near += float(area[distance <= tolerance].sum())
        total += float(area.sum())
    return near / total


def _corner_codes(mask: Bool[np.ndarray, "D H W"]) -> UInt8[np.ndarray, "D+1 H+1 W+1"]:
    """Which of the eight voxels around each voxel corner are in the mask, one bit each; none is outside."""
    depth, height, width = (n + 1 for n in mask.shape)
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros((depth, height, width), np.uint8)
    for (z, y, x), bit in np.ndenumerate(_tables().ENCODE_NEIGHBOURHOOD_3D_KERNEL):
        codes |= padded[z : z + depth, y : y + height, x : x + width] * np.uint8(bit)
    return codes


@lru_cache(maxsize=32)
def _areas(spacing: tuple[float, float, float]) -> Float[np.ndarray, " codes"]:
    """Square millimetres of surface by corner code."""
    areas: np.ndarray = _tables().create_table_neighbour_code_to_surface_area(spacing)
    return areas


def _tables() -> ModuleType:
    """DeepMind's lookup tables; their other module uses names that numpy 2 lacks, and sorts in Python."""
    try:
        from surface_distance import lookup_tables
    except ImportError:
        raise ImportError(
            "surface_distance: NSD needs this package; install the extra: pip install 'lexor[evaluate]'"
        ) from None
    tables: ModuleType = lookup_tables
    return tables
