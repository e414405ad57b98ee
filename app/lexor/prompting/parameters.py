"""The parameters of automatic prompts: of Algorithm 1, with the paper's values as defaults, and of the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from lexor.errors import shown

# Voxels. A sharper Gaussian is none any more; a wider one flattens any organ, and takes minutes.
LEAST_SIGMA, MOST_SIGMA = 0.001, 64
# Of a list; of all the masks that are looked through; of the components that are compared, each with all others.
MOST_NUMBERS, MOST_MASKS, MOST_COMPONENTS = 16, 1000, 10_000


@dataclass(frozen=True)
class IntensityParameters:
    """Parameters of the intensity-based automatic prompt (paper section 2.3, Algorithm 1).

    Attributes:
        sigma: standard deviation of the Gaussian smoothing, voxels, .001..64 (section 2.3, "Preprocessing").
        low: lower threshold in standard deviations above the mean, exclusive, -1000..1000 (equation 1).
        high: upper threshold in standard deviations above the mean, exclusive, > low, at most 1000 (equation 1).
        closing_radius: radius of the closing's ball, whole voxels, 0..32; 0 closes nothing
            (section 2.3, "Morphological Refinement").
        margin: voxels added to each side of the box, 0..10,000 (section 2.3, "Bounding Box Extraction").
        truncate: standard deviations after which the Gaussian is cut off, .1..8. The paper names none; this is
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
        for name, kind, least, most in (
            ("sigma", Real, LEAST_SIGMA, MOST_SIGMA),
            ("low", Real, -1000, 1000),
            ("high", Real, -1000, 1000),
            ("closing_radius", Integral, 0, 32),
            ("margin", Integral, 0, 10_000),
            ("truncate", Real, 0.1, 8),
        ):
            _check(name, getattr(self, name), kind, least, most)
        if self.low >= self.high:
            raise ValueError(f"low is {self.low!r} and high is {self.high!r}: give a low below high")


@dataclass(frozen=True)
class CandidateParameters:
    """What is proposed to the segmenter (`lexor.prompting.candidates`). None of it is in the paper.

    The defaults were chosen by the overlap of the best candidate's box with that of the best-matching label, on cases
    of data/train.

    Attributes:
        voxels: the volume is reduced by whole factors until it has at most so many, 1..4,000,000.
        smoothing: sigma of the Gaussian before bands and tails are cut, voxels of the reduced volume, .001..64.
        levels: quantiles of the body that the bands lie between, 2..255.
        widest: bands are 1 to so many levels wide, >= 1, at most `levels`.
        tails: shares of the body's brightest and darkest voxels that are masks of their own, 0..1 exclusive.
        scales: sigmas of the local contrast, voxels of the reduced volume, .001..64.
        contrast: thresholds of it, in its standard deviations, .01..1000.
        largest: so many components are taken of each mask, >= 1.
        smallest: a component has at least so many voxels of the reduced volume, 1..4,000,000.
        overlap: of two boxes whose intersection over union is greater, one is dropped, 0..1 exclusive.
        most: so many candidates of masks are kept, 1..1000.
        central: sizes of boxes about the volume's middle that are candidates, too, shares of each axis, 0..1
            exclusive: what is scanned is aimed at, ultrasound above all.

    Lists hold 16 numbers at most, and all of it makes at most 1,000 masks and 10,000 components.

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
        for name, kind, least, most in (
            ("voxels", Integral, 1, 4_000_000),
            ("smoothing", Real, LEAST_SIGMA, MOST_SIGMA),
            ("levels", Integral, 2, 255),
            ("widest", Integral, 1, self.levels),
            ("largest", Integral, 1, 1000),
            ("smallest", Integral, 1, 4_000_000),
            ("most", Integral, 1, 1000),
        ):
            _check(name, getattr(self, name), kind, least, most)
        for name, least, most in (("scales", LEAST_SIGMA, MOST_SIGMA), ("contrast", 0.01, 1000)):
            for number in _few(name, getattr(self, name)):
                _check(name, number, Real, least, most)
        for name in ("tails", "central", "overlap"):
            value = getattr(self, name)
            for number in (value,) if name == "overlap" else _few(name, value):
                if not _is_number(number, Real) or not 0 < number < 1:
                    raise ValueError(f"{name} has {shown(number)}: give numbers between 0 and 1")
        bands = sum(self.levels - width + 1 for width in range(1, self.widest + 1))
        masks = 1 + bands + 2 * len(self.tails) + 2 * len(self.scales) * len(self.contrast)
        if masks > MOST_MASKS:
            raise ValueError(
                f"levels is {self.levels}: with widest {self.widest} and the lists it makes {masks:,} masks, give a "
                f"smaller number, for at most {MOST_MASKS:,}"
            )
        if masks * self.largest > MOST_COMPONENTS:
            raise ValueError(
                f"largest is {self.largest}: give at most {MOST_COMPONENTS // masks} of each of these {masks:,} masks"
            )


def _few(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) > MOST_NUMBERS:
        raise ValueError(f"{name} has {len(values)} numbers: give at most {MOST_NUMBERS}")
    return values


def _check(name: str, value: Any, kind: type, least: float, most: float) -> None:
    """That a value is a number of a kind and in its range; nan is in none."""
    if not _is_number(value, kind) or not least <= value <= most:
        whole = "whole " if kind is Integral else ""
        raise ValueError(f"{name} is {shown(value)}: give a {whole}number from {least:,} to {most:,}")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
