"""Masks of what stands out of a volume: bands of intensity, tails, local contrast of both signs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from lexor.prompting.parameters import CandidateParameters

Kind = Literal["body", "band", "bright", "dark", "raised", "sunken"]

# What exceeds the volume's minimum by less than this share of its range is air.
AIR = 0.02
# Of a difference of two Gaussians the wider has so many times the sigma: near a Laplacian, a filter for blobs.
SURROUND = 1.6


def body_of(volume: Float[np.ndarray, "d h w"]) -> Bool[np.ndarray, "d h w"]:
    """The voxels that are not air; in a constant volume none is."""
    low, high = float(volume.min()), float(volume.max())
    body: np.ndarray = volume > low + AIR * (high - low)
    return body


def masks_of(
    volume: Float[np.ndarray, "d h w"], parameters: CandidateParameters
) -> Iterator[tuple[Kind, Bool[np.ndarray, "d h w"]]]:
    """Every mask with its kind; nothing of a constant volume.

    body: all that is not air. band: between two quantiles of the body. bright, dark: the body's tails. raised,
    sunken: brighter, darker than its surroundings (difference of Gaussians, Lowe 2004).
    Thresholds are quantiles and standard deviations: neither scale nor zero of the intensities matters.
    """
    from scipy import ndimage

    body = body_of(volume)
    if not body.any():
        return
    yield "body", body
    smooth = ndimage.gaussian_filter(volume, parameters.smoothing)
    values = np.sort(smooth[body])

    def quantile(share: float) -> float:
        return float(values[min(int(share * len(values)), len(values) - 1)])

    levels = [quantile(i / parameters.levels) for i in range(parameters.levels)] + [np.inf]
    # Labels 1..levels of the bands, once: each band is then a comparison of bytes.
    level = np.searchsorted(np.array(levels[:-1], np.float32), smooth, side="right").astype(np.uint8)
    level[~body] = 0
    for width in range(1, parameters.widest + 1):
        for first in range(1, parameters.levels - width + 2):
            yield "band", (level >= first) & (level < first + width)
    for share in parameters.tails:
        yield "bright", body & (smooth > quantile(1 - share))
        yield "dark", body & (smooth < quantile(share))
    for scale in parameters.scales:
        contrast = ndimage.gaussian_filter(volume, scale) - ndimage.gaussian_filter(volume, SURROUND * scale)
        deviation = float(contrast[body].std())
        for threshold in parameters.contrast:
            yield "raised", body & (contrast > threshold * deviation)
            yield "sunken", body & (contrast < -threshold * deviation)
