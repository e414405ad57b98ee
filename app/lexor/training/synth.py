"""Synthetic scenes as challenge cases: .npz files with imgs, gts, spacing and boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lexor.geometry import Box
from lexor.io.case import Case, read_case, read_labels, write_case
from lexor.training.synthetic import STYLES, Scene, make_scene

# Millimetres of a pixel, nominally: scenes have no true size.
PIXEL = 1.0


def label_volume(scene: Scene) -> np.ndarray:
    """Labels 1..K (D, H, W) uint8 of a scene: where targets overlap the smaller wins; none is left empty."""
    labels = np.zeros(scene.image.shape, np.uint8)
    order = sorted(range(len(scene.targets)), key=lambda k: -int(scene.targets[k].sum()))
    for number, index in enumerate(order, 1):
        labels[scene.targets[index]] = number
    left = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(order) + 1)[1:]) + 1
    table = np.zeros(len(order) + 1, np.uint8)
    table[left] = np.arange(1, len(left) + 1)
    packed: np.ndarray = table[labels]
    return packed


def write_scenes(folder: Path, count: int, seed: int, style: str | None = None) -> list[Path]:
    """Writes scenes as challenge cases, e.g. CT_synth_0001.npz; scene i depends on seed and i alone.

    Args:
        folder: made if missing; files of the same names are replaced.
        count: number of scenes.
        seed: of the first scene; the same seed gives the same files.
        style: one of lexor.training.synthetic.STYLES; drawn for each scene when None.
    Returns the paths, in order. Raises ValueError for an unknown style.
    """
    if style is not None and style not in STYLES:
        raise ValueError(f"style is {style!r}; give one of {', '.join(STYLES)}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(1, count + 1):
        scene = make_scene(np.random.default_rng((seed, index)), style=style)
        labels = label_volume(scene)
        boxes = tuple(Box.measured(labels == k) for k in range(1, int(labels.max()) + 1))
        path = folder / f"{scene.style}_synth_{index:04d}.npz"
        spacing = (PIXEL * scene.ratio, PIXEL, PIXEL)
        write_case(path, Case(path.stem, scene.image, spacing, boxes), labels)
        paths.append(path)
    return paths


def read_scene(path: Path) -> Scene:
    """A written case as a scene again, for looking at it; where targets overlapped the smaller one has the voxels.

    Raises CaseError as read_case and read_labels do.
    """
    case, labels = read_case(path), read_labels(path)
    targets = tuple(labels == k for k in range(1, int(labels.max()) + 1))
    spacing = case.spacing or (1.0, 1.0, 1.0)
    return Scene(case.volume, targets, case.modality or "", spacing[0] / spacing[2])
