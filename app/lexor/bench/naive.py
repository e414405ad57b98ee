"""Algorithm 1 as one writes it with the array library at hand: the baseline that a GPU's pipeline must outrun."""

from __future__ import annotations

from typing import Any

import numpy as np

from lexor.geometry import Box
from lexor.prompting.parameters import IntensityParameters

Array = Any


def modules(device: str) -> tuple[Any, Any]:
    """The array module and its `ndimage`: CuPy's for "cuda", else numpy's and SciPy's."""
    if device == "cuda":
        import cupy
        from cupyx.scipy import ndimage as on_gpu

        return cupy, on_gpu
    from scipy import ndimage

    return np, ndimage


def find_box(volume: np.ndarray, parameters: IntensityParameters, device: str) -> Box | None:
    """The first box of Algorithm 1 in float32, copies to and from the device included; None where there is none.

    Unlike the textbook's it may differ by a voxel: CuPy sums float32 in float32.
    """
    xp, ndimage = modules(device)
    smoothed = ndimage.gaussian_filter(
        xp.asarray(volume).astype(np.float32), parameters.sigma, truncate=parameters.truncate
    )
    mean, deviation = float(smoothed.mean(dtype=np.float64)), float(smoothed.std(dtype=np.float64))
    mask = (smoothed > mean + parameters.low * deviation) & (smoothed < mean + parameters.high * deviation)
    labels, count = ndimage.label(_closed(mask, parameters.closing_radius, xp, ndimage), xp.ones((3, 3, 3)))
    if not int(count):
        return None
    largest = int(xp.bincount(labels.ravel())[1:].argmax()) + 1
    component = labels == largest
    lower, upper = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hits = xp.flatnonzero(component.any(axis=others))
        lower.append(max(int(hits[0]) - parameters.margin, 0))
        upper.append(min(int(hits[-1]) + 1 + parameters.margin, volume.shape[axis]))
    middle = int(component.sum(axis=(1, 2)).argmax())
    return Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), middle)


def _closed(mask: Array, radius: int, xp: Any, ndimage: Any) -> Array:
    axis = xp.arange(-radius, radius + 1) ** 2
    ball = axis[:, None, None] + axis[:, None] + axis <= radius**2
    padded = ndimage.binary_erosion(ndimage.binary_dilation(xp.pad(mask, radius), ball), ball)
    return padded[tuple(slice(radius, radius + length) for length in mask.shape)]
