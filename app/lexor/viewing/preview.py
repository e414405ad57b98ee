"""Pictures of a case and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lexor.geometry import Box
from lexor.io.scans.objects import COLOURS

MAP = ListedColormap(list(COLOURS))


@dataclass(frozen=True)
class Panel:
    """A slice as a picture shows it.

    Attributes:
        title: above it.
        image: (H, W) uint8.
        labels: (H, W) coloured over it, 0 is not.
        truth: (H, W) labels, outlined.
        boxes: of classes 1, 2, ...; drawn where they meet slice `z`.
        z: the slice's index in its volume.
    """

    title: str
    image: np.ndarray
    labels: np.ndarray | None = None
    truth: np.ndarray | None = None
    boxes: Sequence[Box | None] = ()
    z: int = 0


def draw_panels(rows: Sequence[Sequence[Panel]], path: Path) -> Path:
    """Pictures in rows and columns, pixels square.

    Args:
        rows: as many panels each.
        path: of the PNG.
    """
    ratios = [max(panel.image.shape[0] / panel.image.shape[1] for panel in row) for row in rows]
    columns = len(rows[0])
    figure = Figure(figsize=(3.3 * columns, 3.3 * sum(ratios) + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=ratios)
    for line, row in zip(axes, rows, strict=True):
        for axis, panel in zip(line, row, strict=True):
            axis.imshow(panel.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            if panel.labels is not None:
                _colour(axis, panel.labels)
            if panel.truth is not None:
                for label in np.unique(panel.truth[panel.truth > 0]):
                    mask = panel.truth == label
                    if not mask.all():
                        axis.contour(mask, levels=[0.5], colors="white", linewidths=1.0)
            for index, box in enumerate(panel.boxes):
                if box is not None and box.lower[0] <= panel.z < box.upper[0]:
                    _outline(axis, box, 1, 2, COLOURS[index % len(COLOURS)])
            axis.set_title(panel.title, fontsize=9)
            axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def draw_cases(rows: Sequence[tuple[str, np.ndarray, np.ndarray, Sequence[Box | None]]], path: Path) -> Path:
    """Three orthogonal slices of each volume with labels and boxes over them, one row a volume.

    Args:
        rows: title, volume (D, H, W) uint8, labels (D, H, W), boxes in class order.
        path: of the PNG.
    """
    figure = Figure(figsize=(10, 3.6 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for line, (title, volume, labels, boxes) in zip(axes, rows, strict=True):
        hit = np.argwhere(labels > 0)
        centre = np.median(hit, axis=0).astype(int) if len(hit) else np.array(volume.shape) // 2
        for plane, axis in enumerate(line):
            image, mask = (np.take(array, centre[plane], axis=plane) for array in (volume, labels))
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="nearest")
            _colour(axis, mask, aspect="auto")
            rows_axis, columns_axis = [a for a in range(3) if a != plane]
            for index, box in enumerate(boxes):
                if box is None or not box.lower[plane] <= centre[plane] < box.upper[plane]:
                    continue
                _outline(axis, box, rows_axis, columns_axis, COLOURS[index % len(COLOURS)])
            axis.set_title(f"{title}, {'zyx'[plane]} = {centre[plane]}", fontsize=9)
            axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _colour(axis: Axes, labels: np.ndarray, aspect: Literal["equal", "auto"] = "equal") -> None:
    """Labels over an image, each in its colour."""
    axis.imshow(
        (np.ma.masked_equal(labels, 0) - 1) % len(COLOURS),
        cmap=MAP,
        vmin=0,
        vmax=len(COLOURS) - 1,
        alpha=0.45,
        aspect=aspect,
        interpolation="nearest",
    )


def _outline(axis: Axes, box: Box, rows: int, columns: int, colour: str) -> None:
    """The sides of a box in a plane; `rows` and `columns` say which axes of the volume run down and across."""
    corner = (box.lower[columns] - 0.5, box.lower[rows] - 0.5)
    size = box.shape[columns], box.shape[rows]
    axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=1.2))
