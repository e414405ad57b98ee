"""The parameters of automatic prompts: of Algorithm 1, with the paper's values as defaults, and of the candidates."""

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


@dataclass(frozen=True)
class CandidateParameters:
    """What is proposed to the segmenter (`lexor.prompting.candidates`). None of it is in the paper.

    The defaults were chosen by the overlap of the best candidate's box with that of the best-matching label, on cases
    of data/train.

    Attributes:
        voxels: the volume is reduced by whole factors until it has at most so many, >= 1.
        smoothing: sigma of the Gaussian before bands and tails are cut, voxels of the reduced volume, > 0.
        levels: quantiles of the body that the bands lie between, 2..255.
        widest: bands are 1 to so many levels wide, >= 1, at most `levels`.
        tails: shares of the body's brightest and darkest voxels that are masks of their own, 0..1 exclusive.
        scales: sigmas of the local contrast, voxels of the reduced volume, > 0.
        contrast: thresholds of it, in its standard deviations, > 0.
        largest: so many components are taken of each mask, >= 1.
        smallest: a component has at least so many voxels of the reduced volume, >= 1.
        overlap: of two boxes whose intersection over union is greater, one is dropped, 0..1.
        most: so many candidates of masks are kept, >= 1.
        central: sizes of boxes about the volume's middle that are candidates, too, shares of each axis, 0..1
            exclusive: what is scanned is aimed at, ultrasound above all.

    Raises:
        ValueError: a value is out of its range; the message names the parameter, the value and the range.
    """

    voxels: int = 300_000
    smoothing: float = 0.7
    levels: int = 12
    widest: int = 3
    tails: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35)
    scales: tuple[float, ...] = (1.0, 2.0, 4.0, 7.0)
    contrast: tuple[float, ...] = (1.0, 2.0)
    largest: int = 8
    smallest: int = 12
    overlap: float = 0.6
    most: int = 24
    central: tuple[float, ...] = (0.5, 0.7)

    def __post_init__(self) -> None:
        for name in ("voxels", "levels", "widest", "largest", "smallest", "most"):
            value = getattr(self, name)
            if not _is_number(value, Integral) or value < 1:
                raise ValueError(f"{name} is {value!r}: give a whole number, 1 or more")
        if not 2 <= self.levels <= 255:
            raise ValueError(f"levels is {self.levels!r}: give 2 to 255")
        if self.widest > self.levels:
            raise ValueError(f"widest is {self.widest!r}: give at most levels, {self.levels}")
        for name, top in (
            ("smoothing", math.inf),
            ("overlap", 1.0),
            ("tails", 1.0),
            ("central", 1.0),
            ("scales", math.inf),
        ):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not _is_number(number, Real) or not 0 < number < top:
                    wanted = "above 0" if top == math.inf else "between 0 and 1"
                    raise ValueError(f"{name} has {number!r}: give numbers {wanted}")
        for number in self.contrast:
            if not _is_number(number, Real) or not 0 < number < math.inf:
                raise ValueError(f"contrast has {number!r}: give numbers above 0")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
