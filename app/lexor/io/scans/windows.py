"""The windows of CT: which Hounsfield units become 0..255.

Source: paper section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Shaped, UInt8

from lexor.errors import CaseError, Notes, shown


@dataclass(frozen=True)
class Window:
    """A range of Hounsfield units: width, and level in its middle."""

    width: float
    level: float

    @property
    def range(self) -> tuple[float, float]:
        """What becomes 0, and what becomes 255."""
        return self.level - self.width / 2, self.level + self.width / 2


WINDOWS: Final = {
    "soft-tissue": Window(400, 40),
    "lung": Window(1500, -160),
    "brain": Window(80, 40),
    "bone": Window(1800, 400),
}


def window_of(text: str) -> Window:
    """The window of a name, or of "width,level" in HU. Raises CaseError where it is neither."""
    if (found := WINDOWS.get(text.strip().lower())) is not None:
        return found
    try:
        width, level = (float(part) for part in text.split(","))
    except ValueError:
        width = level = math.nan
    if not (0 < width < 1e6 and abs(level) < 1e6):
        raise CaseError(
            f"--window is {shown(text)}; give {', '.join(WINDOWS)}, or WIDTH,LEVEL in HU such as 400,40"
        )
    return Window(width, level)


def windowed(voxels: Shaped[np.ndarray, "D H W"], window: Window, notes: Notes) -> UInt8[np.ndarray, "D H W"]:
    """Voxels as uint8: the window's lower end and all below it is 0, its upper end and all above it 255.

    notes: is added to where voxels are not finite; NaN becomes 0, as air.
    """
    low, high = window.range
    found = np.empty(voxels.shape, np.uint8)
    missing = 0
    for part, out in zip(voxels, found, strict=True):
        values = part.astype(np.float32 if part.dtype.itemsize <= 4 else np.float64)
        if part.dtype.kind == "f":
            nans = np.isnan(values)
            missing += int(np.count_nonzero(nans))
            values[nans] = low
        np.clip(values, low, high, out=values)
        values -= low
        values *= 255 / (high - low)
        out[:] = np.rint(values)
    if missing:
        notes.append(f"{missing:,} voxels are NaN; they become {low:g} HU, give finite values")
    return found
