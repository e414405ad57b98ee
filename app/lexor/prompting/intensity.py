"""Algorithm 1: a box around the largest region that is brighter than average (paper section 2.3)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from operator import index

import numpy as np
from jaxtyping import Shaped

from lexor.case import Box
from lexor.prompting.backends import Array, ArrayBackend, select_backend
from lexor.prompting.closing import close_with_ball
from lexor.prompting.parameters import IntensityParameters

Shape = tuple[int, int, int]


def auto_prompt(
    volume: Shaped[np.ndarray, "D H W"],
    *,
    top: int = 1,
    device: str = "cpu",
    parameters: IntensityParameters | None = None,
) -> list[Box]:
    """Boxes for a volume that comes without prompts, best first.

    The volume is smoothed, the voxels strictly between mean + low x std and mean + high x std are kept, their
    mask is closed with a ball, and the bounds of its largest 26-connected components plus a margin, clipped
    to the volume, are the boxes. Mean and standard deviation are the smoothed volume's, in float64.

    Args:
        volume: (D, H, W) of any real dtype, uint8 as a rule; booleans count as 0 and 1. Only differences of
            intensity matter, not their scale or zero.
        top: how many components to answer with, >= 1, largest first, and of equal ones the first in raster
            order. Fewer come back where the volume has fewer.
        device: "cpu", "cuda" (CuPy and cuCIM), or "auto": "cuda" where that works. Both give the same boxes.
            A GPU without enough memory hands over to the CPU, with a RuntimeWarning.
        parameters: the algorithm's parameters; None for the paper's.

    Returns:
        At least one half-open box. A box's y/x extent is that of its whole component, where the challenge
        measures a box's y/x on slice `z_mid` alone; `z_mid` is the slice on which the component has the most
        voxels, the first of them on a tie. Where no voxel lies in the band, as in a constant volume, the one
        box is the whole volume. In a volume of one slice the ball reaches out of the plane and closes
        nothing; all else is as usual.

    Raises:
        ValueError: the volume is empty, not 3D, not of real numbers, or has voxels that are not finite in
            float32; `top` is below 1; or there is no such device here.

    Source: the paper's section 2.3, equation 1 and Algorithm 1.
    """
    if index(top) < 1:
        raise ValueError(f"top is {top}: ask for 1 box or more")
    volume = _checked(volume)
    parameters = parameters or IntensityParameters()
    backend = select_backend(device)
    try:
        return _find_boxes(volume, top, parameters, backend)
    except MemoryError as problem:
        if backend.name == "cpu":
            raise
        warnings.warn(
            f"the {backend.name} device has no memory for the automatic prompt of a volume of shape "
            f"{volume.shape}: computed on the CPU ({str(problem).strip() or type(problem).__name__})",
            RuntimeWarning,
            stacklevel=2,
        )
    finally:
        backend.release()
    return _find_boxes(volume, top, parameters, select_backend("cpu"))


def _checked(volume: np.ndarray) -> np.ndarray:
    """The volume in a dtype that every backend reads, or an error that says what is wrong with it."""
    volume = np.asarray(volume)
    if volume.ndim != 3 or volume.size == 0:
        raise ValueError(f"volume has shape {volume.shape}: give a (D, H, W) array with at least one voxel")
    if volume.dtype.kind not in "buif":
        raise ValueError(f"volume has dtype {volume.dtype}: give integers or real floating-point numbers")
    if volume.dtype.kind == "f" and volume.dtype.itemsize not in (4, 8):
        return volume.astype(np.float32 if volume.dtype.itemsize < 4 else np.float64)
    return volume.astype(volume.dtype.newbyteorder("="), copy=False)


def _find_boxes(
    volume: np.ndarray, top: int, parameters: IntensityParameters, backend: ArrayBackend
) -> list[Box]:
    """Algorithm 1, on whatever device."""
    shape: Shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    smoothed = _smooth(backend.upload(volume), parameters, backend)
    mean, deviation = _statistics(smoothed, backend)
    if not math.isfinite(mean + deviation):
        raise ValueError(
            "volume has voxels that are NaN, infinite or beyond float32: replace them by finite values"
        )
    low = mean + parameters.low * deviation
    high = mean + parameters.high * deviation
    mask = _band(smoothed, low, high, backend)
    del smoothed  # the labels need the room
    if not bool(mask.any()):
        return [Box.whole(shape)]
    mask = close_with_ball(mask, parameters.closing_radius, backend.xp)
    labels, sizes = backend.label(mask)
    largest = np.argsort(-sizes, kind="stable")[:top] + 1
    return [_box(labels, int(label), parameters.margin, backend) for label in largest]


def _slabs(shape: Sequence[int], axis: int, voxels: int) -> list[slice]:
    """Cut an axis so that each piece of the volume has about so many voxels."""
    length = shape[axis]
    step = max(1, voxels * length // math.prod(shape))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _smooth(volume: Array, parameters: IntensityParameters, backend: ArrayBackend) -> Array:
    """V_s: the Gaussian-smoothed volume, float32; axis after axis, as SciPy's gaussian_filter goes."""
    sigma, truncate = parameters.sigma, parameters.truncate
    smoothed = backend.xp.empty(volume.shape, dtype=np.float32)

    def along_z(slab: slice) -> None:
        backend.smooth_axis(volume[:, slab], 0, sigma, truncate, smoothed[:, slab])

    def within_slices(slab: slice) -> None:
        slices = smoothed[slab]
        backend.smooth_axis(slices, 1, sigma, truncate, slices)
        backend.smooth_axis(slices, 2, sigma, truncate, slices)

    backend.run(along_z, _slabs(volume.shape, 1, backend.slab_voxels))
    backend.run(within_slices, _slabs(volume.shape, 0, backend.slab_voxels))
    return smoothed


def _statistics(smoothed: Array, backend: ArrayBackend) -> tuple[float, float]:
    """Mean and (population) standard deviation in float64; exactly 0 deviation for a constant volume."""
    slabs = _slabs(smoothed.shape, 0, backend.slab_voxels)
    voxels = int(smoothed.size)

    def moment(centre: float, power: int) -> float:
        def add(slab: slice) -> float:
            with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at what comes out
                return float(((smoothed[slab].astype(np.float64) - centre) ** power).sum())

        return sum(backend.run(add, slabs)) / voxels

    # The float64 sum of half a billion equal float32 values is exact: hence the 0 of a constant volume.
    mean = moment(0.0, 1)
    return mean, math.sqrt(moment(mean, 2))


def _band(smoothed: Array, low: float, high: float, backend: ArrayBackend) -> Array:
    """M: the voxels strictly between two float64 thresholds, boolean.

    A float32 is above a float64 threshold if and only if it is above the greatest float32 that is not above
    the threshold: compared so, no voxel is rounded and none is copied to float64.
    """
    with np.errstate(over="ignore"):  # a threshold beyond float32 is infinite, and compares as it should
        floor, ceiling = np.float32(low), np.float32(high)
    if float(floor) > low:
        floor = np.nextafter(floor, np.float32(-np.inf))
    if float(ceiling) < high:
        ceiling = np.nextafter(ceiling, np.float32(np.inf))
    mask = backend.xp.empty(smoothed.shape, dtype=bool)

    def fill(slab: slice) -> None:
        mask[slab] = (smoothed[slab] > floor) & (smoothed[slab] < ceiling)

    backend.run(fill, _slabs(smoothed.shape, 0, backend.slab_voxels))
    return mask


def _box(labels: Array, label: int, margin: int, backend: ArrayBackend) -> Box:
    """B: a component's bounds plus the margin, clipped to the volume."""

    def extents(slab: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        component = labels[slab] == label
        footprint = component.any(axis=0)
        areas = backend.xp.count_nonzero(component, axis=(1, 2))
        return backend.download(areas), backend.download(footprint.any(1)), backend.download(footprint.any(0))

    parts = backend.run(extents, _slabs(labels.shape, 0, backend.slab_voxels))
    areas = np.concatenate([part[0] for part in parts])
    rows = np.logical_or.reduce([part[1] for part in parts])
    columns = np.logical_or.reduce([part[2] for part in parts])
    bounds = [_bounds(hits, margin) for hits in (areas > 0, rows, columns)]
    (z0, z1), (y0, y1), (x0, x1) = bounds
    return Box((z0, y0, x0), (z1, y1, x1), int(areas.argmax()))


def _bounds(hits: np.ndarray, margin: int) -> tuple[int, int]:
    """First and one past the last hit of an axis, plus the margin on both sides, clipped to the axis."""
    where = np.flatnonzero(hits)
    return max(int(where[0]) - margin, 0), min(int(where[-1]) + 1 + margin, len(hits))
