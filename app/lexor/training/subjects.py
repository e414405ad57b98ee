"""Real cases for training: listed at once, read when drawn, the latest kept in memory."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from functools import partial
from pathlib import Path

import numpy as np

from lexor.errors import CaseError
from lexor.training.config import DataConfig, TrainingError
from lexor.training.labelled import Entry, Targets, list_sources, read_subject
from lexor.training.pack import read_pack
from lexor.training.samples import Subject

log = logging.getLogger(__name__)


class Subjects:
    """The cases that a configuration names.

    A case of a source of n cases weighs n ** -1/2, so that large sources do not drown small ones; the modalities'
    sums are then drawn together by their square root.

    Args:
        config: paths, fraction, sources, cache.

    Raises:
        TrainingError: a path holds no case, or none is left of all.
    """

    def __init__(self, config: DataConfig) -> None:
        entries: list[Entry] = []
        for path in config.paths:
            entries += _entries(config, path)
        known = {entry.source for entry in entries}
        for key, names in (("leave_out", config.leave_out), ("only", config.only)):
            for name in names:
                if entries and name not in known:
                    raise TrainingError(
                        f"data.{key}: no source {name!r}; there are {', '.join(sorted(known))}"
                    )
        kept = [entry for entry in entries if config.uses(entry.source)]
        if entries and not kept:
            raise TrainingError("data.leave_out, data.only: no case is left; leave out fewer sources")
        self.entries = _subset(kept, config.fraction, config.subset_seed)
        self.weights = _weights([entry.source for entry in self.entries])
        self.limit = config.cache_mb * 1_000_000
        self._cache: OrderedDict[int, Subject] = OrderedDict()
        self._held = 0
        self._broken: set[int] = set()

    def __len__(self) -> int:
        return len(self.entries)

    def draw(self, rng: np.random.Generator) -> Subject:
        """A random subject; files that cannot be used are named once and passed over."""
        while True:
            index = int(rng.choice(len(self.entries), p=self.weights))
            subject = self.get(index)
            if subject is not None:
                return subject
            if len(self._broken) == len(self.entries):
                raise TrainingError(
                    f"data.paths: none of {len(self.entries)} cases can be used; see the warnings"
                )

    def get(self, index: int) -> Subject | None:
        """Subject number `index`, None if its file cannot be used."""
        if index in self._broken:
            return None
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        try:
            subject = self.entries[index].read()
        except (CaseError, OSError) as problem:
            log.warning("%s; the case is left out", problem)
            self._broken.add(index)
            return None
        self._cache[index] = subject
        self._held += _size(subject)
        while self._held > self.limit and len(self._cache) > 1:
            self._held -= _size(self._cache.popitem(last=False)[1])
        return subject


def _entries(config: DataConfig, path: Path) -> list[Entry]:
    if path.is_file():
        return read_pack(path)
    return [Entry(source.stem, partial(read_subject, source)) for source in list_sources(config, path)]


def _subset(entries: list[Entry], fraction: float, seed: int) -> list[Entry]:
    """The same share of every source, at least one case of each, in the given order."""
    if fraction >= 1:
        return entries
    rng = np.random.default_rng(seed)
    chosen: set[int] = set()
    for source in sorted({entry.source for entry in entries}):
        members = [i for i, entry in enumerate(entries) if entry.source == source]
        count = max(1, round(fraction * len(members)))
        chosen.update(int(i) for i in rng.permutation(members)[:count])
    return [entry for i, entry in enumerate(entries) if i in chosen]


def _weights(sources: list[str]) -> np.ndarray:
    counts = Counter(sources)
    weights = np.array([counts[source] ** -0.5 for source in sources])
    modalities = np.array([source.split("_")[0] for source in sources])
    for modality in set(modalities.tolist()):
        members = modalities == modality
        # The sum becomes its own square root.
        weights[members] /= np.sqrt(weights[members].sum())
    return weights / weights.sum() if len(weights) else weights


def _size(subject: Subject) -> int:
    labels = subject.targets.labels.nbytes if isinstance(subject.targets, Targets) else 0
    return int(subject.image.nbytes) + labels
