"""Algorithm 1 as a textbook writes it, one SciPy call after the other: what Lexor must equal, and outrun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from lexor.geometry import Box
from lexor.prompting.parameters import IntensityParameters

PAPER = IntensityParameters()


@dataclass(frozen=True)
class Answer:
    """What the textbook makes of a volume.

    Attributes:
        boxes: of the largest components, best first; the whole volume where there is none.
        sizes: of all components, voxels, largest first.
    """

    boxes: list[Box]
    sizes: list[int]


def find_boxes(
    volume: Shaped[np.ndarray, "D H W"],
    top: int = 1,
    parameters: IntensityParameters = PAPER,
    done: Callable[[str], object] = lambda stage: None,
) -> Answer:
    """Algorithm 1; `done` hears of each stage as that of `lexor.prompting.intensity.find_boxes` does."""
    from scipy import ndimage

    smoothed = smooth(volume, parameters)
    done("smoothing")
    low, high = thresholds(smoothed, parameters)
    done("statistics")
    mask = close((smoothed > low) & (smoothed < high), parameters.closing_radius)
    done("mask")
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    done("components")
    order = _largest(labels, sizes, top)
    extents = ndimage.find_objects(labels)
    boxes = []
    for label in order:
        where = extents[label - 1]
        middle = where[0].start + int((labels[where] == label).sum(axis=(1, 2)).argmax())
        lower = [max(extent.start - parameters.margin, 0) for extent in where]
        upper = [min(e.stop + parameters.margin, n) for e, n in zip(where, volume.shape, strict=True)]
        boxes.append(Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), middle))
    done("boxes")
    depth, height, width = volume.shape
    return Answer(boxes or [Box.whole((depth, height, width))], sorted(sizes.tolist(), reverse=True))


def smooth(volume: Shaped[np.ndarray, "D H W"], parameters: IntensityParameters = PAPER) -> np.ndarray:
    """V_s in float32."""
    from scipy import ndimage

    smoothed: np.ndarray = ndimage.gaussian_filter(
        volume.astype(np.float32), parameters.sigma, truncate=parameters.truncate
    )
    return smoothed


def thresholds(
    smoothed: Float[np.ndarray, "D H W"], parameters: IntensityParameters = PAPER
) -> tuple[np.float64, np.float64]:
    """T_low and T_high; numpy compares a float32 array with numpy's own float64 numbers in float64."""
    mean, deviation = smoothed.mean(dtype=np.float64), smoothed.std(dtype=np.float64)
    return mean + parameters.low * deviation, mean + parameters.high * deviation


def close(mask: Bool[np.ndarray, "D H W"], radius: int) -> np.ndarray:
    """Pad, dilate with the ball, erode with it, crop."""
    from scipy import ndimage

    axis = np.arange(-radius, radius + 1) ** 2
    ball = axis[:, None, None] + axis[:, None] + axis <= radius**2
    padded = ndimage.binary_dilation(np.pad(mask, radius), ball)
    closed: np.ndarray = ndimage.binary_erosion(padded, ball)[
        tuple(slice(radius, radius + length) for length in mask.shape)
    ]
    return closed


def _largest(labels: np.ndarray, sizes: np.ndarray, top: int) -> list[int]:
    """The labels of the largest components; of equal ones the first in raster order."""
    if not len(sizes):
        return []
    least = np.sort(sizes)[-min(top, len(sizes))]
    candidates = (np.flatnonzero(sizes >= least) + 1).tolist()
    if len(candidates) > top:  # SciPy does not promise the order of its labels
        firsts = {label: int((labels == label).argmax()) for label in candidates}
        candidates.sort(key=firsts.__getitem__)
    candidates.sort(key=lambda label: -sizes[label - 1])
    return candidates[:top]
