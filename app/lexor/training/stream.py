"""Batches of samples, each a pure function of its number: a run that is cut off goes on exactly as it would have."""

from __future__ import annotations

import atexit
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lexor.geometry import Shape
from lexor.models.window_prompts import WindowPrompts
from lexor.training.config import TrainingConfig, mix_type
from lexor.training.object_samples import make_sample
from lexor.training.samples import Sample, Subject, Truth, collate
from lexor.training.subjects import Subjects
from lexor.training.synthetic import make_scene
from lexor.training.variation import varied
from lexor.training.volume_samples import make_volume_sample

Batch = tuple[Tensor, Truth, WindowPrompts]
SampleMaker = Callable[[Subject, int, Shape, Any, np.random.Generator], Sample | None]
MAKERS: dict[str, SampleMaker] = {"object": make_sample, "volume": make_volume_sample}
# Second word of a generator's seed: scenes, batches and rounds of clicks never share one.
BATCHES, SCENES, INTERACTIONS = 0, 1, 2


class Scenes:
    """The synthetic scenes of one stream: scene j depends on the seed and j alone, and is made when first drawn."""

    def __init__(self, config: TrainingConfig, key: tuple[int, ...]) -> None:
        self.mix, self.key = config.mix, (config.seed, SCENES, *key)
        self._made: OrderedDict[int, Subject] = OrderedDict()

    def window(self, turn: int) -> range:
        """The scenes that the stream's batch number `turn` draws from; it moves on as scenes are renewed."""
        newest = self.mix.initial + turn // self.mix.renew_every
        return range(max(0, newest - self.mix.scenes), newest)

    def draw(self, turn: int, rng: np.random.Generator) -> Subject:
        """A random scene of that batch's window."""
        window = self.window(turn)
        number = int(rng.integers(window.start, window.stop))
        if number not in self._made:
            self._made[number] = make_synthetic(np.random.default_rng([*self.key, number]))
            for old in [made for made in self._made if made < window.start]:
                del self._made[old]
        return self._made[number]


def make_synthetic(rng: np.random.Generator) -> Subject:
    """A synthetic scene as a subject."""
    scene = make_scene(rng)
    return Subject(scene.image, list(scene.targets), scene.ratio, "synthetic")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, as DataLoader's workers have it: more of them add up in another order, and round so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Batches(IterableDataset[Batch]):
    """The endless batches of one training process, from a given number on.

    Batch b belongs to stream b % streams, of which there is one a worker, with scenes of its own. It is the same
    whether workers make it or not, and wherever the iteration started.

    Args:
        config: data, mix, prompts, batch, seed, workers.
        window: (d, h, w) of the samples.
        rank: the training process.
        start: number of the first batch.
    """

    def __init__(self, config: TrainingConfig, window: Shape, rank: int = 0, start: int = 0) -> None:
        self.config, self.window, self.rank, self.start = config, window, rank, start

    def __iter__(self) -> Iterator[Batch]:
        streams = max(1, self.config.workers or 0)
        info = get_worker_info()
        first, step = (self.start, 1) if info is None else (self.start + info.id, info.num_workers)
        subjects = Subjects(self.config.data)
        mix = mix_type(self.config.prompts.recipe)(**self.config.prompts.mix)
        scenes = {stream: Scenes(self.config, (self.rank, stream)) for stream in range(streams)}
        for number in count(first, step):
            rng = np.random.default_rng([self.config.seed, BATCHES, self.rank, number])
            turn, stream = divmod(number, streams)
            with one_thread():
                batch = collate(
                    [self._draw(subjects, scenes[stream], turn, mix, rng) for _ in range(self.config.batch)]
                )
            yield batch

    def _draw(
        self, subjects: Subjects, scenes: Scenes, turn: int, mix: Any, rng: np.random.Generator
    ) -> Sample:
        make, shares = MAKERS[self.config.prompts.recipe], self.config.mix
        while True:
            real = len(subjects) > 0 and rng.random() < shares.real
            subject = subjects.draw(rng) if real else scenes.draw(turn, rng)
            target = int(rng.integers(len(subject.targets)))
            if real and shares.varied and rng.random() < shares.varied:
                subject, target = varied(subject, target, rng)
            sample = make(subject, target, self.window, mix, rng)
            if sample is not None:
                return sample


def load_batches(batches: Batches, *, pin: bool = False) -> Iterator[Batch]:
    """The batches in order, made here or by worker processes.

    Args:
        pin: keep the windows in page-locked memory, from which a GPU copies at once.
    """
    workers = batches.config.workers
    if not workers:
        return iter(batches)
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4,
        # Forked workers would inherit the locks of this process's threads.
        multiprocessing_context="spawn",
        worker_init_fn=_begin_worker,
        pin_memory=pin,
    )
    return iter(loader)


def _begin_worker(worker: int) -> None:
    """Ctrl-C reaches the whole group: the training process ends its workers itself, once it has saved.

    A worker holds nothing that would be lost, so it leaves at once: among the libraries' own endings, which else come
    last, one aborts the process now and then (a C++ thread that nobody waits for).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(os._exit, 0)
