"""A contact sheet of scenes: one slice of each with its targets' contours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lexor.io.scans.objects import COLOURS
from lexor.training.synthetic import Scene


def middle_slice(targets: Sequence[np.ndarray]) -> int:
    """The slice that cuts the most targets; among those, the one with most of their voxels."""
    areas = np.stack([target.sum((1, 2)) for target in targets])
    return int(((areas > 0).sum(0) + areas.sum(0) / (areas.sum() + 1)).argmax())


def draw_scenes(scenes: Sequence[Scene], path: Path, titles: Sequence[str] = (), columns: int = 6) -> Path:
    """A grid of scenes: the slice through most of each one's targets, and their contours.

    Args:
        scenes: at least one, image uint8 (D, H, W).
        path: of the PNG.
        titles: of the scenes; their style and size if empty.
        columns: scenes a row.
    """
    rows = -(-len(scenes) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.75 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for index, (axis, scene) in enumerate(zip(axes, scenes, strict=False)):
        z = middle_slice(scene.targets)
        axis.imshow(scene.image[z], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for number, target in enumerate(scene.targets):
            if target[z].any() and not target[z].all():
                axis.contour(target[z], [0.5], colors=COLOURS[number % len(COLOURS)], linewidths=0.9)
        size = "x".join(str(n) for n in scene.image.shape)
        title = titles[index] if titles else f"{scene.style} {size} 1:{scene.ratio:.1f}"
        axis.set_title(f"{title}, z = {z}", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=85)
    return path
