"""The challenge's files: what a case is, safe reading of it, atomic writing of results.

Inside the package a box is half-open and everything is in (z, y, x) order; the conversion from and to the
file's closed boxes is `Box.from_dict` and `Box.to_dict`, and happens nowhere else.

Source: CVPR 2025 BiomedSegFM challenge, `.npz` files with the keys imgs, spacing, boxes, clicks,
clicks_order, prev_pred (and gts, segs).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8

from lexor.errors import CaseError, Notes, shown
from lexor.geometry import Box, Clicks
from lexor.io.intensity import to_uint8
from lexor.io.labels import as_integers, present
from lexor.io.npz import NpzReader, Pieces, write_npz
from lexor.io.prompts import ALL, MAX_CLASSES, read_boxes, read_clicks

__all__ = [
    "Box",
    "Case",
    "CaseError",
    "Clicks",
    "read_case",
    "read_labels",
    "write_case",
    "write_segmentation",
]

FilePath = str | os.PathLike[str]
T = TypeVar("T")

MAX_VOXELS: Final = 1 << 30  # answering takes some 30 bytes for each
MAX_MAPS: Final = 1000  # a label 65,535 alone would ask for terabytes of zeros
MAX_PREVIOUS: Final = 1000  # each class costs a look at the volume, and noise has thousands of labels
_SPACINGS: Final = (1e-6, 1e3)  # a nanometre to a metre
_MODALITIES: Final = ("CT", "MR", "PET", "US", "Microscopy")


@dataclass(frozen=True, eq=False)
class Case:
    """One volume with the prompts that came with it.

    name: the file's name without .npz, e.g. "CT_lung_17".
    volume: uint8 (D, H, W), 0..255.
    spacing: millimetres between voxels in the file's order, nominally (z, y, x); None where unknown.
    boxes: one per class, None where a class has no usable box; () where the file has none at all.
    clicks: one per class; () where the file has none at all.
    previous: the previous round's labels, unsigned integers (D, H, W), or None.
    warnings: what was found wrong and put right or left out: one line each, with file, key, value, remedy.
    unreadable: classes of which the file has a prompt that could not be read, in order; 1 stands for them all
    where there are no others.
    unasked: classes that nobody wants, of which the prompts have only their place; nothing stands in for them.
    Class i of the labels (1-based) belongs to boxes[i - 1] and clicks[i - 1]. Without either, the labels of
    `previous` are the classes; their numbers may have gaps.
    """

    name: str
    volume: UInt8[np.ndarray, "D H W"]
    spacing: tuple[float, float, float] | None = None
    boxes: tuple[Box | None, ...] = ()
    clicks: tuple[Clicks, ...] = ()
    previous: Integer[np.ndarray, "D H W"] | None = None
    warnings: tuple[str, ...] = ()
    unreadable: tuple[int, ...] = ()
    unasked: frozenset[int] = frozenset()

    @property
    def n_classes(self) -> int:
        """Highest class the prompts ask for; 0: there are none, the automatic prompt decides.

        Boxes and clicks ask for all of 1..n_classes, previous labels alone for those that they have.
        """
        asked = max(len(self.boxes), len(self.clicks))
        return asked if asked or self.previous is None else int(self.previous.max(initial=0))

    @property
    def modality(self) -> str | None:
        """CT, MR, PET, US or Microscopy: the name's first token; None if it is none of these."""
        token = self.name.split("_")[0]
        return token if token in _MODALITIES else None


def read_case(path: FilePath) -> Case:
    """Read a challenge case from an .npz file that need not be trusted.

    path: the file. The truth (`gts`) is never opened, nor is any key that the protocol does not have.
    A volume that is not uint8 is converted (see `to_uint8`). Prompts, spacing and previous labels that
    cannot be used are left out. Both are said in the case's warnings.
    Raises CaseError where the file or its imgs cannot be used: not an .npz, damaged, encrypted, larger than
    4 GiB or 2^30 voxels, not three-dimensional, empty, not real numbers.
    """
    path = Path(path)
    notes = Notes()
    unreadable: set[int] = set()

    with NpzReader(path) as file:
        volume = _read_volume(file, notes)
        shape = volume.shape

        def optional(key: str, read: Callable[[str], T], lost: Iterable[int] = (ALL,)) -> T | None:
            try:
                return read(key) if key in file else None
            except CaseError as error:
                notes.append(f"{str(error).removeprefix(f'{path.name}: ')}; the key is ignored")
                unreadable.update(lost)
                return None

        spacing = optional("spacing", file.values, ())
        boxes_values = optional("boxes", file.values)
        clicks_values = optional("clicks", file.values)
        order = optional("clicks_order", file.values, ()) if clicks_values is not None else None
        boxes, clicks = _read_prompts(boxes_values, clicks_values, order, shape, notes, unreadable)
        n_classes = max(len(boxes), len(clicks))
        previous = optional("prev_pred", lambda key: _read_previous(file, key, shape, n_classes, notes))

    if ALL in unreadable:
        unreadable = set(range(1, max(n_classes, 1) + 1))
    return Case(
        name=path.stem,
        volume=volume,
        spacing=None if spacing is None else _read_spacing(spacing, notes),
        boxes=boxes,
        clicks=clicks,
        previous=previous,
        warnings=notes.lines(path.name),
        unreadable=tuple(sorted(unreadable)),
    )


def read_labels(path: FilePath, key: str = "gts") -> Integer[np.ndarray, "D H W"]:
    """Read a label volume, of a training file (gts) or a result (segs), with `read_case`'s precautions.

    Returns integers (D, H, W) as stored; whole numbers stored as floats, or booleans, as integers.
    Raises CaseError where the key is missing or is anything else, or gts is not of the shape of imgs.
    """
    where = f"{Path(path).name}: {key}"

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) != 3:
            raise CaseError(f"{where} has shape {shape}; give an array (D, H, W)")
        if volume is not None and shape != volume:
            raise CaseError(f"{where} has shape {shape}, imgs {volume}; give one shape")

    with NpzReader(path) as file:
        volume = file.shape("imgs") if key == "gts" and "imgs" in file else None
        labels = file.array(key, check=check)
    try:
        return as_integers(labels)
    except CaseError as error:
        raise CaseError(f"{where} {error}") from None


def write_segmentation(
    path: FilePath,
    labels: Shaped[np.ndarray, ...],
    n_classes: int | None = None,
    probabilities: Sequence[Callable[[], Float[np.ndarray, "D H W"]]] | None = None,
) -> None:
    """Write labels as a challenge result: key segs, compressed; the file appears complete or not at all.

    path: the .npz file. labels: integers (D, H, W), 0 is background, class i from entry i of the prompts.
    n_classes: number of classes, if known: more than 255 are written as uint16, else uint8.
    probabilities: for each class a function that gives its map, 0..1. They are called one after the other, and
    written as the key probabilities, float16 (C, D, H, W), of which [i - 1] is class i.
    Raises CaseError where labels are not such integers or exceed n_classes, or maps are more than `MAX_MAPS`;
    OSError where writing fails, and then an existing file is as it was.
    """
    arrays: dict[str, np.ndarray | Pieces] = {"segs": _labels_to_write(path, "segs", labels, n_classes)}
    if probabilities is not None:
        if (count := len(probabilities)) > MAX_MAPS:
            raise CaseError(
                f"{Path(path).name}: {count:,} maps of probabilities, one for each number up to the highest class; "
                f"at most {MAX_MAPS:,} are written: number the labels 1, 2, ..., or leave the probabilities out"
            )
        shape = (len(probabilities), *labels.shape)
        arrays["probabilities"] = Pieces(shape, np.dtype(np.float16), (read() for read in probabilities))
    write_npz(path, arrays)


def write_case(
    path: FilePath,
    case: Case,
    labels: Integer[np.ndarray, "D H W"] | None = None,
    affine: Float[np.ndarray, "4 4"] | None = None,
) -> None:
    """Write a case in the challenge's layout; the file appears complete or not at all.

    path: the .npz file; its name becomes the case's name when it is read. labels: the truth, written as gts.
    affine: where the volume lies, see `Scan`; a key that the challenge does not have.
    Keys without content are left out. Boxes and clicks are object arrays of dicts with numpy integers, as
    the organisers write them, so `numpy.load` needs allow_pickle to read these keys.
    Raises as `write_segmentation` does.
    """
    arrays: dict[str, np.ndarray] = {"imgs": case.volume}
    if labels is not None:
        arrays["gts"] = _labels_to_write(path, "gts", labels, None)
    if affine is not None:
        arrays["affine"] = affine
    if case.spacing is not None:
        arrays["spacing"] = np.array(case.spacing, dtype=np.float64)
    if case.boxes:
        arrays["boxes"] = _objects([None if box is None else _box_dict(box) for box in case.boxes])
    if case.clicks:
        arrays["clicks"] = _objects([_clicks_dict(clicks) for clicks in case.clicks])
        arrays["clicks_order"] = _objects(
            [["fg" if foreground else "bg" for foreground in clicks.foreground] for clicks in case.clicks]
        )
    if case.previous is not None:
        arrays["prev_pred"] = _labels_to_write(path, "prev_pred", case.previous, None)
    write_npz(path, arrays)


def _read_volume(file: NpzReader, notes: Notes) -> UInt8[np.ndarray, "D H W"]:
    volume = file.array("imgs", check=lambda shape: _check_volume(file.path.name, shape))
    try:
        return to_uint8(volume, notes)
    except CaseError as error:
        raise CaseError(f"{file.path.name}: {error}") from None


def _check_volume(name: str, shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    if size > MAX_VOXELS:
        raise CaseError(
            f"{name}: imgs has shape {shape}, {size:,} voxels; give at most {MAX_VOXELS:,}: "
            "crop it, or resample it"
        )
    if len(shape) != 3:
        remedy = "give a volume (D, H, W)"
        if len(shape) == 4 and 1 in (shape[0], shape[-1]):
            remedy = f"drop the channel axis: {'imgs[0]' if shape[0] == 1 else 'imgs[..., 0]'}"
        elif len(shape) == 2:
            remedy = "add an axis to a single slice: imgs[None]"
        raise CaseError(f"{name}: imgs has shape {shape}; {remedy}")
    if not size:
        raise CaseError(f"{name}: imgs has shape {shape}, no voxel; give a volume (D, H, W)")


def _read_prompts(
    boxes_values: Any,
    clicks_values: Any,
    order: Any,
    shape: tuple[int, ...],
    notes: Notes,
    unreadable: set[int],
) -> tuple[tuple[Box | None, ...], tuple[Clicks, ...]]:
    """Boxes and clicks, one of each for every class where there are both; unreadable is added to."""
    boxes, lost = ((), frozenset[int]()) if boxes_values is None else read_boxes(boxes_values, shape, notes)
    unreadable |= lost
    clicks, lost = (
        ((), frozenset[int]()) if clicks_values is None else read_clicks(clicks_values, order, shape, notes)
    )
    unreadable |= lost
    if boxes and clicks and len(boxes) != len(clicks):
        notes.append(
            f"boxes has {len(boxes)} classes, clicks {len(clicks)}; the larger number is answered, give one "
            "entry per class in both"
        )
        n_classes = max(len(boxes), len(clicks))
        boxes += (None,) * (n_classes - len(boxes))
        clicks += (Clicks(),) * (n_classes - len(clicks))
    return boxes, clicks


def spacing_of(values: Any) -> tuple[float, float, float] | None:
    """Three lengths as millimetres (z, y, x), each within `_SPACINGS`; None where values are anything else."""
    least, most = _SPACINGS
    try:
        z, y, x = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        return None
    return (z, y, x) if all(least <= length <= most for length in (z, y, x)) else None


def _read_spacing(values: Any, notes: Notes) -> tuple[float, float, float] | None:
    spacing = spacing_of(values)
    if spacing is None:
        least, most = _SPACINGS
        notes.append(
            f"spacing is {shown(values)}; give three numbers of millimetres, {least:g} to {most:g} each, "
            "it is ignored"
        )
    return spacing


def _read_previous(
    file: NpzReader, key: str, shape: tuple[int, ...], n_classes: int, notes: Notes
) -> Integer[np.ndarray, "D H W"]:
    """Labels 0..n_classes in the smallest unsigned dtype; without classes to go by, the labels are the classes."""

    def check(found: tuple[int, ...]) -> None:
        if found != shape:
            raise CaseError(f"{key} has shape {found}; give labels of the shape of imgs, {shape}")

    labels = file.array(key, check=check)
    try:
        labels = as_integers(labels)
    except CaseError as error:
        raise CaseError(f"{key} {error}") from None
    low, high = int(labels.min()), int(labels.max())
    if not n_classes and (low < 0 or high > MAX_CLASSES):
        raise CaseError(f"{key} has labels {low}..{high}; give 0..{MAX_CLASSES}")
    limit = n_classes or high
    if low < 0 or high > limit:
        notes.append(
            f"{key} has labels {low}..{high} for {n_classes} classes; give labels of these classes, "
            "others are taken as background"
        )
        labels = np.where((labels >= 0) & (labels <= limit), labels, 0)
    labels = labels.astype(np.min_scalar_type(max(min(high, limit), 0)))
    if not n_classes and (count := len(present(labels, high))) > MAX_PREVIOUS:
        raise CaseError(f"{key} alone has {count:,} labels; give at most {MAX_PREVIOUS:,}, or boxes")
    return labels


def _labels_to_write(path: FilePath, key: str, labels: np.ndarray, n_classes: int | None) -> np.ndarray:
    where = f"{Path(path).name}: {key}"
    if labels.ndim != 3 or labels.dtype.kind not in "biu":
        raise CaseError(f"{where} is {labels.dtype} of shape {labels.shape}; give integer labels (D, H, W)")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    limit = MAX_CLASSES if n_classes is None else n_classes
    if low < 0 or high > limit or limit > MAX_CLASSES:
        raise CaseError(f"{where} has labels {low}..{high}; give 0..{min(limit, MAX_CLASSES)}")
    dtype = np.uint8 if (n_classes or high) <= 255 else np.uint16
    return np.ascontiguousarray(labels, dtype=dtype)


def _box_dict(box: Box) -> dict[str, np.int64]:
    return {key: np.int64(value) for key, value in box.to_dict().items()}


def _clicks_dict(clicks: Clicks) -> dict[str, list[list[np.int64]]]:
    pairs = list(zip(clicks.points, clicks.foreground, strict=True))
    return {
        kind: [
            [np.int64(coordinate) for coordinate in point]
            for point, foreground in pairs
            if foreground is wanted
        ]
        for kind, wanted in (("fg", True), ("bg", False))
    }


def _objects(items: list[Any]) -> np.ndarray:
    """1-D object array of the items; numpy.array would turn lists of equal length into a 2-D one."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array
