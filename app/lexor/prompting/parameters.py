"""The parameters of Algorithm 1, with the paper's values as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real


@dataclass(frozen=True)
class IntensityParameters:
    """Parameters of the intensity-based automatic prompt (paper section 2.3, Algorithm 1).

    Attributes:
        sigma: standard deviation of the Gaussian smoothing, voxels, > 0 (section 2.3, "Preprocessing").
        low: lower threshold in standard deviations above the mean, exclusive (equation 1).
        high: upper threshold in standard deviations above the mean, exclusive, > low (equation 1).
        closing_radius: radius of the closing's ball, whole voxels, >= 0; 0 closes nothing
            (section 2.3, "Morphological Refinement").
        margin: voxels added to each side of the box, >= 0 (section 2.3, "Bounding Box Extraction").
        truncate: standard deviations after which the Gaussian is cut off, > 0. The paper names none; this is
            the default of `scipy.ndimage.gaussian_filter`.

    Raises:
        ValueError: a value is out of its range; the message names the parameter, the value and the range.
    """

    sigma: float = 2.0
    low: float = 0.5
    high: float = 2.0
    closing_radius: int = 3
    margin: int = 5
    truncate: float = 4.0

    def __post_init__(self) -> None:
        for name in ("sigma", "low", "high", "truncate"):
            value = getattr(self, name)
            if not _is_number(value, Real) or not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}: give a finite number")
        for name in ("closing_radius", "margin"):
            value = getattr(self, name)
            if not _is_number(value, Integral) or value < 0:
                raise ValueError(f"{name} is {value!r}: give a whole number of voxels, 0 or more")
        for name in ("sigma", "truncate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}: give a number above 0")
        if self.low >= self.high:
            raise ValueError(f"low is {self.low!r} and high is {self.high!r}: give a low below high")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
