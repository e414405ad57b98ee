"""Pictures of a case and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lexor.case import Box

# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


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
            shown = np.ma.masked_equal(mask, 0)
            axis.imshow(
                (shown - 1) % len(COLOURS),
                cmap=ListedColormap(list(COLOURS)),
                vmin=0,
                vmax=len(COLOURS) - 1,
                alpha=0.45,
                aspect="auto",
                interpolation="nearest",
            )
            rows_axis, columns_axis = [a for a in range(3) if a != plane]
            for index, box in enumerate(boxes):
                if box is None or not box.lower[plane] <= centre[plane] < box.upper[plane]:
                    continue
                corner = (box.lower[columns_axis] - 0.5, box.lower[rows_axis] - 0.5)
                axis.add_patch(
                    Rectangle(
                        corner,
                        box.shape[columns_axis],
                        box.shape[rows_axis],
                        fill=False,
                        edgecolor=COLOURS[index % len(COLOURS)],
                        linewidth=1.2,
                    )
                )
            axis.set_title(f"{title}, {'zyx'[plane]} = {centre[plane]}", fontsize=9)
            axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
