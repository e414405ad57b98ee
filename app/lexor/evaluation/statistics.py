"""What an answer measures: for each class its volume, intensities and place."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from lexor.errors import CaseError
from lexor.io.prompts import MAX_CLASSES
from lexor.io.whole import write_text

# Radius in millimetres of a sphere of 1 ml, as PERCIST and IBSI (0F91) take it.
PEAK_RADIUS: Final = (3 * 1000 / (4 * math.pi)) ** (1 / 3)
# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class ClassStatistics:
    """What one class measures.

    Attributes:
        label: its number, from 1.
        name: for people.
        voxels: how many; 0: the class is empty, and what follows is None.
        volume_ml: millilitres; None where the spacing is unknown.
        unit: of the intensities: "HU", "SUV", "counts", ...
        mean, sd, minimum, maximum: intensities over finite voxels; `sd` is that of all voxels (divisor n).
        peak: the highest mean over a sphere of 1 ml about a voxel of the class; only of PET.
        lower, upper: bounding box (z, y, x), both ends in it.
        extent_mm: edges of that box (z, y, x); None where the spacing is unknown.
        touches_border: whether it reaches a face of the volume, so that some of it may be missing.
        components: connected pieces; voxels that share a corner are connected.
    """

    label: int
    name: str
    voxels: int
    volume_ml: float | None
    unit: str
    mean: float | None = None
    sd: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    peak: float | None = None
    lower: tuple[int, int, int] | None = None
    upper: tuple[int, int, int] | None = None
    extent_mm: tuple[float, float, float] | None = None
    touches_border: bool = False
    components: int = 0

    def row(self, case: str) -> dict[str, Any]:
        """The columns of a file of statistics."""
        row: dict[str, Any] = {"case": case, "label": self.label, "name": self.name, "voxels": self.voxels}
        row |= {"volume_ml": _rounded(self.volume_ml), "unit": self.unit}
        for key in ("mean", "sd", "minimum", "maximum", "peak"):
            row[key] = _rounded(getattr(self, key))
        for axis, letter in enumerate("zyx"):
            row[f"extent_{letter}_mm"] = None if self.extent_mm is None else _rounded(self.extent_mm[axis])
        for axis, letter in enumerate("zyx"):
            row[f"{letter}_min"] = None if self.lower is None else self.lower[axis]
            row[f"{letter}_max"] = None if self.upper is None else self.upper[axis]
        return row | {"touches_border": self.touches_border, "components": self.components}


def columns() -> tuple[str, ...]:
    """Of a file of statistics, in order."""
    return tuple(ClassStatistics(1, "", 0, None, "").row(""))


def statistics_of(
    voxels: Shaped[np.ndarray, ...],
    labels: Integer[np.ndarray, ...],
    spacing: Sequence[float] | None,
    unit: str = "",
    names: Mapping[int, str] | None = None,
    peak: bool = False,
    voxel_mm3: float | None = None,
) -> list[ClassStatistics]:
    """Statistics of every class that occurs or has a name, in the order of their numbers.

    Args:
        voxels: (D, H, W) intensities as measured.
        labels: (D, H, W), 0 is background.
        spacing: millimetres (z, y, x); None where unknown.
        unit: of the intensities.
        names: of classes; others are called "class 1", "class 2", ... A class that has a name has a row, even
            if it is empty.
        peak: whether to compute the peak, as for PET; it needs the spacing.
        voxel_mm3: of a voxel; the product of the spacing if None, which is more where axes are not at right angles.

    Raises:
        ValueError: labels are of another shape than the voxels, or not 0..`MAX_CLASSES`.
    """
    if voxels.shape != labels.shape:
        raise ValueError(f"labels have shape {labels.shape}, voxels {voxels.shape}")
    if labels.size and (int(labels.min()) < 0 or int(labels.max()) > MAX_CLASSES):
        raise ValueError(f"labels are {labels.min()}..{labels.max()}; give 0..{MAX_CLASSES}")
    names = dict(names or {})
    if voxel_mm3 is None and spacing is not None:
        voxel_mm3 = math.prod(float(step) for step in spacing)
    places = dict(_places(labels))
    found = []
    for label in sorted({*places, *names}):
        name = names.get(label, f"class {label}")
        if label in places:
            found.append(
                _measured(label, name, voxels, labels, places[label], spacing, unit, peak, voxel_mm3)
            )
        else:
            found.append(ClassStatistics(label, name, 0, None if spacing is None else 0.0, unit))
    return found


def suv_peak(
    voxels: Float[np.ndarray, "D H W"], mask: Bool[np.ndarray, "D H W"], spacing: Sequence[float]
) -> float | None:
    """The highest mean over a sphere of 1 ml whose middle is a voxel of the mask.

    The sphere holds the voxels whose middles lie in it, outside of the mask as well, but not outside of the volume
    (IBSI 0F91, global intensity peak). Voxels that are not finite do not count.

    Args:
        voxels: at least `mask`'s surroundings of `PEAK_RADIUS`, so far as there are any.

    Returns:
        None where no voxel of a sphere is finite.
    """
    from scipy import signal

    reach = [min(int(PEAK_RADIUS / step), n - 1) for step, n in zip(spacing, mask.shape, strict=True)]
    grids = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    squares: Any = sum((grid * step) ** 2 for grid, step in zip(grids, spacing, strict=True))
    sphere = (squares <= PEAK_RADIUS**2).astype(np.float64)
    finite = np.isfinite(voxels)
    sums = signal.fftconvolve(np.where(finite, voxels, 0).astype(np.float64), sphere, mode="same")[mask]
    counts = np.rint(signal.fftconvolve(finite.astype(np.float64), sphere, mode="same")[mask])
    means = sums[counts > 0] / counts[counts > 0]
    return float(means.max()) if len(means) else None


def write_statistics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a row for each class and case, CSV or JSON as the name says; the file appears complete or not at all.

    In the CSV, a text that a spreadsheet would run as a formula has an apostrophe before it.

    Args:
        rows: of `ClassStatistics.row`.

    Raises:
        CaseError: see `check_statistics`. OSError: it cannot be written.
    """
    check_statistics(path)
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps([dict(row) for row in rows], indent=1) + "\n")
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns())
    for row in rows:
        writer.writerow([_cell(row[key]) for key in columns()])
    write_text(path, text.getvalue())


def check_statistics(path: Path) -> None:
    """That a file of statistics has a name that says how to write it.

    Raises:
        CaseError: it has not.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise CaseError(f"--statistics {path}: give a name that ends in .csv or .json")


def _places(labels: Integer[np.ndarray, "D H W"]) -> Iterator[tuple[int, tuple[slice, slice, slice]]]:
    """Every label and its bounding box."""
    from scipy import ndimage

    # A copy of the volume in the one dtype that scipy takes.
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False)) if labels.any() else []
    for number, box in enumerate(boxes, start=1):
        if box is not None:
            z, y, x = box
            yield number, (z, y, x)


def _measured(
    label: int,
    name: str,
    voxels: np.ndarray,
    labels: np.ndarray,
    place: tuple[slice, slice, slice],
    spacing: Sequence[float] | None,
    unit: str,
    peak: bool,
    voxel_mm3: float | None,
) -> ClassStatistics:
    """Of a class that occurs."""
    import cc3d

    mask = labels[place] == label
    count = int(np.count_nonzero(mask))
    inside = voxels[place][mask].astype(np.float64)
    inside = inside[np.isfinite(inside)]
    z, y, x = place
    spaces = None if spacing is None else [float(step) for step in spacing]
    _, components = cc3d.connected_components(mask, connectivity=26, return_N=True, binary_image=True)
    return ClassStatistics(
        label=label,
        name=name,
        voxels=count,
        volume_ml=None if voxel_mm3 is None else count * voxel_mm3 / 1000,
        unit=unit,
        mean=float(inside.mean()) if inside.size else None,
        sd=float(inside.std()) if inside.size else None,
        minimum=float(inside.min()) if inside.size else None,
        maximum=float(inside.max()) if inside.size else None,
        peak=_peak_of(label, voxels, labels, place, spaces) if peak and spaces is not None else None,
        lower=(z.start, y.start, x.start),
        upper=(z.stop - 1, y.stop - 1, x.stop - 1),
        extent_mm=None if spaces is None else _lengths(place, spaces),
        touches_border=any(
            side.start == 0 or side.stop == n for side, n in zip(place, labels.shape, strict=True)
        ),
        components=int(components),
    )


def _peak_of(
    label: int,
    voxels: np.ndarray,
    labels: np.ndarray,
    place: tuple[slice, slice, slice],
    spacing: Sequence[float],
) -> float | None:
    """`suv_peak` of a class, with only so much around it as a sphere reaches."""
    around = tuple(
        slice(max(0, side.start - int(PEAK_RADIUS / step)), side.stop + int(PEAK_RADIUS / step))
        for side, step in zip(place, spacing, strict=True)
    )
    return suv_peak(voxels[around], labels[around] == label, spacing)


def _lengths(place: tuple[slice, slice, slice], spacing: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = ((side.stop - side.start) * step for side, step in zip(place, spacing, strict=True))
    return z, y, x


def _rounded(value: float | None) -> float | None:
    """Six significant digits: no measure here is truer."""
    return None if value is None else float(f"{value:.6g}")


def _cell(value: Any) -> Any:
    """A value as CSV holds it: nothing for None, yes and no in words, no text that is a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value
