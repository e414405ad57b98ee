"""Three answers to a box that need no model: a trained one must beat them clearly."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from lexor.geometry import Box


def filled_box(volume: UInt8[np.ndarray, "D H W"], box: Box) -> Bool[np.ndarray, "D H W"]:
    """Every voxel of the box."""
    mask = np.zeros(volume.shape, bool)
    mask[box.slices] = True
    return mask


def inscribed_ellipsoid(volume: UInt8[np.ndarray, "D H W"], box: Box) -> Bool[np.ndarray, "D H W"]:
    """The voxels whose centres lie in the ellipsoid that touches the box's six faces."""
    mask = np.zeros(volume.shape, bool)
    axes = [(np.arange(n) + 0.5) / n * 2 - 1 for n in box.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    mask[box.slices] = z**2 + y**2 + x**2 <= 1
    return mask


def otsu_in_box(volume: UInt8[np.ndarray, "D H W"], box: Box) -> Bool[np.ndarray, "D H W"]:
    """The side of Otsu's threshold that most of the box's central half is on; all of a constant box.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    try:
        from skimage.filters import threshold_otsu
    except ImportError:
        raise ImportError(
            "skimage: Otsu's threshold needs this package; install the extra: pip install 'lexor[evaluate]'"
        ) from None
    values = volume[box.slices]
    mask = np.zeros(volume.shape, bool)
    if values.min() == values.max():
        return filled_box(volume, box)
    bright = values > threshold_otsu(values.ravel())  # type: ignore[no-untyped-call]
    z, y, x = (slice(n // 4, n - n // 4) for n in values.shape)
    mask[box.slices] = bright if bright[z, y, x].mean() > 0.5 else ~bright
    return mask


BASELINES = {
    "filled box": filled_box,
    "inscribed ellipsoid": inscribed_ellipsoid,
    "Otsu in the box": otsu_in_box,
}
