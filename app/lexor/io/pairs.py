"""Labelled cases of one's own: a scan and its labels in two files, in two folders or as nnU-Net lays them out.

nnU-Net's layout: DATASET/imagesTr/NAME_0000.nii.gz (0000 is the channel), DATASET/labelsTr/NAME.nii.gz, and
DATASET/dataset.json, whose "channel_names" (or "modality", in version 1) tell the channels' modalities. The Medical
Segmentation Decathlon's has no channel in its names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Integer

from lexor.errors import CaseError, shown
from lexor.geometry import Box
from lexor.io.case import Case, read_case, read_labels
from lexor.io.labels import present
from lexor.io.scan import Scan, case_of, is_scan, name_of, read_scan
from lexor.io.scans.label_maps import checked_labels, onto
from lexor.io.scans.model import MODALITIES
from lexor.io.scans.names import modality_of

DATASET: Final = "dataset.json"
_MAX_JSON: Final = 16 << 20
_CHANNEL: Final = re.compile(r"(.+)_(\d{4})")
# Folders that are called so say nothing of the data set.
_COMMON: Final = re.compile(
    r"(image|img|label|scan|volume|nii|nifti|data|case)s?(tr|ts|train|test|val)?", re.I
)
_KINDS: Final = (
    (re.compile(r"ct|computed.*", re.I), "CT"),
    (re.compile(r"mri?|t1.*|t2.*|flair|adc|dwi|pd|.*mr(i|t)?", re.I), "MR"),
    (re.compile(r"pet|suv.*", re.I), "PET"),
    (re.compile(r"us|ultra.?sound", re.I), "US"),
    (re.compile(r"micro.*", re.I), "Microscopy"),
)


@dataclass(frozen=True, order=True)
class Pair:
    """A scan and its labels.

    Attributes:
        stem: the case's name: modality, data set, and the file's, such as CT_Task09-Spleen_spleen_2.
        image, labels: files.
        modality: None where it is to be read from the image.
        window: of CT, as `case_of` takes it; None: as by default.
        ignored: a label that means "not known", None if there is none; it becomes background.
    """

    stem: str
    image: Path
    labels: Path
    modality: str | None = None
    window: str | None = None
    ignored: int | None = None

    @property
    def name(self) -> str:
        """Of the labels' file: what is said of a case is mostly of its labels."""
        return self.labels.name


Source = Path | Pair
"""A labelled case: a challenge .npz file, or a pair."""


def labelled_in(
    folder: Path, labels: Path | None = None, modality: str | None = None, window: str | None = None
) -> tuple[list[Source], list[str]]:
    """The labelled cases of a folder, by name, and a line for each file in it that is passed over.

    Args:
        folder: of challenge .npz files with gts; or of scans; or a data set in nnU-Net's layout.
        labels: folder of the scans' labels; only for a folder of scans.
        modality, window: of pairs, see `Pair`; a modality that nnU-Net's dataset.json tells comes after this.

    Raises:
        CaseError: the folder holds nothing of the kind, or dataset.json cannot be read.
    """
    if labels is not None:
        return _pairs(folder, labels, _data_set(folder), modality, window)
    if (folder / DATASET).is_file():
        facts = _read_dataset(folder / DATASET)
        return _pairs(
            folder / "imagesTr",
            folder / "labelsTr",
            _plain(folder.name),
            modality or _modality(facts),
            window,
            _ignored(facts),
        )
    cases: list[Source] = [*sorted(folder.glob("*.npz"))]
    if not cases:
        raise CaseError(
            f"{folder}: holds no .npz file and no {DATASET}; give challenge cases, a data set in nnU-Net's layout, "
            "or a folder of scans and --labels with that of their labels"
        )
    return cases, []


def open_labelled(source: Source) -> tuple[Case, Integer[np.ndarray, "D H W"]]:
    """A labelled case, with a box for each label where it is a pair: the challenge measures boxes so.

    Raises:
        CaseError: it cannot be read, has no label, or its labels do not lie on its image.
    """
    if isinstance(source, Path):
        case, labels = read_case(source), read_labels(source)
        if labels.shape != case.volume.shape:
            raise CaseError(
                f"{source.name}: gts has shape {labels.shape}, imgs {case.volume.shape}; give one shape"
            )
        return case, labels
    return _open_pair(source)


def labels_of(pair: Pair, image: Scan) -> Integer[np.ndarray, "D H W"]:
    """The labels of a pair as its file numbers them, on the grid of its image; what is not known is background.

    Raises:
        CaseError: they cannot be read, are no whole numbers from 0 to 65,535, none at all, or lie elsewhere.
    """
    where = pair.labels.name
    scan = read_scan(pair.labels)
    labels = onto(where, checked_labels(where, scan.voxels), scan.affine, image)
    try:
        covers = bool(onto(where, np.ones(scan.shape, np.uint8), scan.affine, image).all())
    except CaseError:
        covers = False
    if not covers:
        raise CaseError(
            f"{where}: covers another part of the patient than its image {pair.image.name}: {_by(scan.shape)} voxels "
            f"and {_by(image.shape)}, from {_corner(scan)} and from {_corner(image)} mm (LPS); give labels of all of "
            "the image, on its grid"
        )
    if pair.ignored is not None:
        labels[labels == pair.ignored] = 0
    if not labels.any():
        raise CaseError(f"{where}: has no label above 0; nothing is marked in it")
    return labels


def _open_pair(pair: Pair) -> tuple[Case, Integer[np.ndarray, "D H W"]]:
    scan = read_scan(pair.image, modality=pair.modality)
    labels = labels_of(pair, scan)
    boxes = tuple(Box.measured(labels == label) for label in present(labels, int(labels.max())))
    case = case_of(scan, window=pair.window)
    return replace(case, name=pair.stem, boxes=boxes), labels


def _pairs(
    images: Path,
    labels: Path,
    data_set: str,
    modality: str | None,
    window: str | None,
    ignored: int | None = None,
) -> tuple[list[Source], list[str]]:
    """The pairs of two folders, by their files' names."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise CaseError(f"{folder}: no such folder; give one of images and one of labels")
    by_name = dict(_scans(labels))
    found: list[Source] = []
    notes: list[str] = []
    used: set[str] = set()
    for name, path in _scans(images):
        channel = _CHANNEL.fullmatch(name)
        stem = name if name in by_name or channel is None else channel[1]
        if stem not in by_name:
            notes.append(f"{path.name}: {labels} has no labels of that name; the image is passed over")
        elif stem in used:
            notes.append(f"{path.name}: another channel of {stem}; only the first is used")
        else:
            used.add(stem)
            found.append(
                Pair(_case_name(stem, data_set, modality), path, by_name[stem], modality, window, ignored)
            )
    notes += [
        f"{by_name[stem].name}: {images} has no image of that name; the labels are passed over"
        for stem in sorted(by_name.keys() - used)
    ]
    if not found:
        raise CaseError(
            f"{images}: no file there has the name of one in {labels}; an image NAME.nii.gz or NAME_0000.nii.gz has "
            "its labels in NAME.nii.gz"
        )
    return sorted(found), notes


def _scans(folder: Path) -> Iterator[tuple[str, Path]]:
    """The scans of a folder, by their names without ending."""
    for path in sorted(folder.iterdir()):
        if is_scan(path):
            yield name_of(path), path


def _case_name(stem: str, data_set: str, modality: str | None) -> str:
    """A name that tells modality and data set, as those of challenge cases do."""
    if stem.split("_")[0] in MODALITIES:
        return stem
    return f"{modality or modality_of(stem) or 'Scan'}_{data_set}_{stem}"


def _data_set(folder: Path) -> str:
    """What a folder of images is called after: itself, or what holds it."""
    parts = [part for part in folder.absolute().parts[1:] if not _COMMON.fullmatch(part)]
    return _plain(parts[-1] if parts else "own")


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+|_+", "-", name).strip("-") or "own"


def _read_dataset(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ValueError(f"larger than {_MAX_JSON >> 20} MB")
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise CaseError(f"{path}: is no JSON ({problem}); give nnU-Net's {DATASET}") from None
    if not isinstance(value, dict):
        raise CaseError(f"{path}: is {shown(value)}; give nnU-Net's {DATASET}")
    return value


def _modality(facts: Mapping[str, Any]) -> str | None:
    """The modality of the first channel."""
    channels = facts.get("channel_names", facts.get("modality"))
    name = channels.get("0") if isinstance(channels, dict) else None
    return next((kind for pattern, kind in _KINDS if isinstance(name, str) and pattern.fullmatch(name)), None)


def _ignored(facts: Mapping[str, Any]) -> int | None:
    """The label that means "not known"."""
    labels = facts.get("labels")
    value = labels.get("ignore") if isinstance(labels, dict) else None
    return value if isinstance(value, int) else None


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _corner(scan: Scan) -> str:
    """Where the first voxel is."""
    return ", ".join(f"{value:.4g}" for value in scan.affine[:3, 3])
