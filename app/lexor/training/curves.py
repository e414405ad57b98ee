"""The learning curve of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lexor.io.scans.objects import COLOURS

# Rows on either side that the smooth line averages over.
REACH = 5


def draw_curve(rows: Sequence[Mapping[str, float]], path: Path) -> Path:
    """Loss, Dice and learning rate over the samples seen, as logged and smoothed.

    Args:
        rows: with samples, loss, dice and lr; one or more.
        path: of the PNG.
    """
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    samples = np.array([row["samples"] for row in rows])
    for axis, name in zip(figure.subplots(1, 3), ("loss", "dice", "lr"), strict=True):
        values = np.array([row[name] for row in rows])
        smooth = [values[max(0, i - REACH) : i + REACH + 1].mean() for i in range(len(values))]
        axis.plot(samples, values, color=COLOURS[1], linewidth=1, alpha=0.6, marker=".", markersize=3)
        if name != "lr":
            axis.plot(samples, smooth, color=COLOURS[5], linewidth=1.8)
        axis.set(xlabel="samples", title={"lr": "learning rate", "dice": "Dice"}.get(name, name))
        axis.grid(alpha=0.3)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=110, format="png")
    return temporary.replace(path)
