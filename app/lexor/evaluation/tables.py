"""Tables of scores."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lexor.evaluation.boxes import METHODS, Row


def modality_means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean DSC over labels by method and modality, with "macro", the mean over modalities."""
    modalities = sorted({row.modality for row in rows})
    means = {
        method: {
            modality: float(np.mean([row.scores[method] for row in rows if row.modality == modality]))
            for modality in modalities
        }
        for method in METHODS
    }
    for method in METHODS:
        means[method]["macro"] = float(np.mean([means[method][m] for m in modalities]))
    return means


def modality_table(rows: Sequence[Row]) -> str:
    """Markdown: DSC by method and modality, with the number of labels."""
    means = modality_means(rows)
    columns = list(means[METHODS[0]])
    counts = [sum(row.modality == column for row in rows) or len(rows) for column in columns]
    head = "| DSC | " + " | ".join(f"{c} (n={n})" for c, n in zip(columns, counts, strict=True)) + " |"
    lines = [head, "|---" * (len(columns) + 1) + "|"]
    for method in METHODS:
        lines.append(f"| {method} | " + " | ".join(f"{means[method][c]:.3f}" for c in columns) + " |")
    return "\n".join(lines)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV with one row per label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "modality", "label", "voxels", *METHODS])
        for row in rows:
            scores = [f"{row.scores[m]:.6f}" for m in METHODS]
            writer.writerow([row.case, row.modality, row.label, row.voxels, *scores])
