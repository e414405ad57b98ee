"""Labelled cases for training: their masks, made when asked for, and how a file is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Bool, Integer

from lexor.errors import CaseError
from lexor.inference.framing import in_plane_ratio
from lexor.io.pairs import Source, labelled_in, open_labelled
from lexor.protocol.sources import source_of
from lexor.training.config import DataConfig, TrainingError
from lexor.training.samples import Subject

log = logging.getLogger(__name__)


class Targets(Sequence[np.ndarray]):
    """The masks of a label volume, each made when asked for."""

    def __init__(self, labels: Integer[np.ndarray, "D H W"]) -> None:
        self.labels = labels
        self.values = [int(value) for value in np.unique(labels) if value > 0]

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Bool[np.ndarray, "D H W"]: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self.labels == value for value in self.values[index]]
        mask: np.ndarray = self.labels == self.values[index]
        return mask


@dataclass(frozen=True)
class Entry:
    """A case that can be drawn: its name, and how it is read (raises CaseError or OSError)."""

    name: str
    read: Callable[[], Subject]

    @property
    def source(self) -> str:
        """The name's first two tokens, such as CT_openkbp."""
        return source_of(self.name)


def read_subject(source: Source) -> Subject:
    """A labelled case as a subject."""
    case, labels = open_labelled(source)
    return as_subject(case.name, case.volume, labels, in_plane_ratio(case.spacing))


def as_subject(name: str, image: np.ndarray, labels: np.ndarray, ratio: float) -> Subject:
    """A subject whose masks are made from the label volume when they are drawn."""
    largest = int(labels.max(initial=0))
    targets = Targets(labels.astype(np.uint8 if largest < 256 else np.uint16, copy=False))
    if not targets:
        raise CaseError(f"{name}: gts has no label above 0; give one")
    return Subject(image, targets, ratio, source_of(name))


def list_sources(data: DataConfig, path: Path) -> list[Source]:
    """The labelled cases of one folder of `data.paths`, sorted; a line is logged for each file that is passed over.

    Raises:
        TrainingError: it holds none.
    """
    labels = data.labels[data.paths.index(path)] if data.labels else None
    try:
        found, notes = labelled_in(path, labels, data.modality, data.window)
    except (CaseError, OSError) as problem:
        raise TrainingError(f"data.paths: {problem}") from None
    for note in notes:
        log.warning("%s", note)
    return found
