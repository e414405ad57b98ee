"""Algorithm 1: a box around the largest region that is brighter than average (paper section 2.3)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from operator import index

import numpy as np
from jaxtyping import Shaped

from lexor.geometry import Box, Shape
from lexor.prompting.backends import Array, ArrayBackend, select_backend, slabs_of
from lexor.prompting.parameters import IntensityParameters


def auto_prompt(
    volume: Shaped[np.ndarray, ...],
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
        device: "cpu", "cuda" (CuPy and cuCIM), or "auto": "cuda" in a process whose network is on a GPU already
            (`lexor.prompting.backends.select_backend`). Both give the same boxes.
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
    volume = checked_volume(volume)
    parameters = parameters or IntensityParameters()
    backend = select_backend(device)
    try:
        with backend.computing():
            return find_boxes(volume, top, parameters, backend)
    except MemoryError as problem:
        if backend.name == "cpu":
            raise
        warnings.warn(
            f"the {backend.name} device has no memory for the automatic prompt of a volume of shape "
            f"{volume.shape}: computed on the CPU ({str(problem).strip() or type(problem).__name__})",
            RuntimeWarning,
            stacklevel=2,
        )
    return find_boxes(volume, top, parameters, select_backend("cpu"))


def checked_volume(volume: np.ndarray) -> np.ndarray:
    """The volume in a dtype that every backend reads, or an error that says what is wrong with it."""
    volume = np.asarray(volume)
    if volume.ndim != 3 or volume.size == 0:
        raise ValueError(f"volume has shape {volume.shape}: give a (D, H, W) array with at least one voxel")
    if volume.dtype.kind not in "buif":
        raise ValueError(f"volume has dtype {volume.dtype}: give integers or real floating-point numbers")
    if volume.dtype.kind == "f" and volume.dtype.itemsize not in (4, 8):
        return volume.astype(np.float32 if volume.dtype.itemsize < 4 else np.float64)
    return volume.astype(volume.dtype.newbyteorder("="), copy=False)


def find_boxes(
    volume: np.ndarray,
    top: int,
    parameters: IntensityParameters,
    backend: ArrayBackend,
    done: Callable[[str], object] = lambda stage: None,
) -> list[Box]:
    """Algorithm 1 as `auto_prompt` runs it, on whatever device, within the backend's `computing`.

    Args:
        volume: as `auto_prompt` checked it.
        top: see `auto_prompt`.
        parameters: see `auto_prompt`.
        backend: the device.
        done: is told the name of each stage when it is over: "upload", "smoothing", "statistics", "mask"
            (the band and its closing), "components" and "boxes". `lexor bench prompts` takes the time.
    """
    shape: Shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    uploaded = backend.upload(volume)
    done("upload")
    smoothed = backend.smooth(uploaded, parameters.sigma, parameters.truncate)
    del uploaded
    done("smoothing")
    mean, deviation = _statistics(smoothed, backend)
    if not math.isfinite(mean + deviation):
        raise ValueError(
            "volume has voxels that are NaN, infinite or beyond float32: replace them by finite values"
        )
    done("statistics")
    low = mean + parameters.low * deviation
    high = mean + parameters.high * deviation
    mask = backend.close(_band(smoothed, low, high), shape, parameters.closing_radius)
    del smoothed  # the labels need the room
    done("mask")
    labels, sizes = backend.label(mask)
    del mask
    done("components")
    largest = np.argsort(-sizes, kind="stable")[:top] + 1
    boxes = [_box(labels, int(label), parameters.margin, backend) for label in largest]
    done("boxes")
    return boxes or [Box.whole(shape)]


def _statistics(smoothed: Array, backend: ArrayBackend) -> tuple[float, float]:
    """Mean and (population) standard deviation in float64; exactly 0 deviation for a constant volume."""

    def moments(slab: slice) -> tuple[int, float, float]:
        with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at what comes out
            exact = smoothed[slab].astype(np.float64)
            mean = float(exact.sum()) / exact.size
            exact -= mean
            exact *= exact
            return exact.size, mean, float(exact.sum())

    # Each slab about its own mean while it is in the cache, then together (Chan, Golub and LeVeque 1979). The
    # float64 sum of equal float32 values is exact: hence the 0 of a constant volume.
    voxels, mean, squares = 0, 0.0, 0.0
    for size, part_mean, part_squares in backend.run(
        moments, slabs_of(smoothed.shape, 0, backend.slab_voxels)
    ):
        distance = part_mean - mean
        voxels += size
        mean += distance * size / voxels
        squares += part_squares + distance * distance * size * (voxels - size) / voxels
    return mean, math.sqrt(squares / voxels)


def _band(smoothed: Array, low: float, high: float) -> Callable[[slice], Array]:
    """M: the voxels strictly between two float64 thresholds, as a function that gives a slab of it.

    A float32 is above a float64 threshold if and only if it is above the greatest float32 that is not above
    the threshold: compared so, no voxel is rounded and none is copied to float64.
    """
    with np.errstate(over="ignore"):  # a threshold beyond float32 is infinite, and compares as it should
        floor, ceiling = np.float32(low), np.float32(high)
    if float(floor) > low:
        floor = np.nextafter(floor, np.float32(-np.inf))
    if float(ceiling) < high:
        ceiling = np.nextafter(ceiling, np.float32(np.inf))

    def band(slab: slice) -> Array:
        return (smoothed[slab] > floor) & (smoothed[slab] < ceiling)

    return band


def _box(labels: Array, label: int, margin: int, backend: ArrayBackend) -> Box:
    """B: a component's bounds plus the margin, clipped to the volume."""

    def extents(slab: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        component = labels[slab] == label
        footprint = component.any(axis=0)
        areas = backend.xp.count_nonzero(component, axis=(1, 2))
        return backend.download(areas), backend.download(footprint.any(1)), backend.download(footprint.any(0))

    parts = backend.run(extents, slabs_of(labels.shape, 0, backend.slab_voxels))
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
