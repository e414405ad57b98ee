"""Answers of single targets, and the label volume they make together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lexor.inference.targets import Target
from lexor.inference.views import Shape, Triple, View

Slices = tuple[slice, slice, slice]

# A target lies in another if so much of it does, and the other is so many times as large. DSC of labels of data/train
# that share a case: US .838 -> .873, MR .793 -> .812, CT unchanged.
NESTED_SHARE = 0.6
NESTED_SIZE = 2.0


@dataclass(frozen=True)
class Answer:
    """One target's logits on the part of the volume that was looked at; outside of it, it is not there.

    Attributes:
        where: that part.
        logits: float32, of the part's shape.
        shape: of the volume.
        step: volume voxels per window voxel with which it was seen, (z, y, x).
    """

    where: Slices
    logits: Tensor
    shape: Shape
    step: Triple

    def extent(self, threshold: float = 0.0) -> tuple[Triple, Triple] | None:
        """Bounds of the voxels above a logit, in voxel edges of the volume; None where there are none."""
        hit = self.logits > threshold
        low, high = [], []
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            line = torch.nonzero(hit.any(dim=others[1]).any(dim=others[0])).flatten()
            if len(line) == 0:
                return None
            low.append(float(self.where[axis].start + int(line[0])))
            high.append(float(self.where[axis].start + int(line[-1]) + 1))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def overlap(self, other: Slices) -> tuple[Slices, Slices]:
        """The common part of `where` and another part, in the coordinates of each."""
        mine, theirs = [], []
        for a, b in zip(self.where, other, strict=True):
            start, stop = max(a.start, b.start), min(a.stop, b.stop)
            stop = max(start, stop)
            mine.append(slice(start - a.start, stop - a.start))
            theirs.append(slice(start - b.start, stop - b.start))
        return (mine[0], mine[1], mine[2]), (theirs[0], theirs[1], theirs[2])

    def read(self, view: View) -> Tensor:
        """The logits (1, d, h, w) as a view shows them; what was not looked at repeats the nearest voxel."""
        return view.seen_from(self.where).read(self.logits[None])

    def undecided(self, view: View, margin: float) -> bool:
        """Whether a view holds both sides of the surface, or logits within `margin` of it."""
        here, _ = self.overlap(view.footprint(self.shape))
        part = self.logits[here]
        return part.numel() > 0 and float(part.max()) > -margin and float(part.min()) < margin

    def keep_slices(self, start: int, stop: int) -> None:
        """Takes the target off all slices outside of [start, stop)."""
        first = self.where[0].start
        self.logits[: max(0, start - first)] = -torch.inf
        self.logits[max(0, stop - first) :] = -torch.inf


def merge(answers: Sequence[Answer], indices: Sequence[int], shape: Shape) -> np.ndarray:
    """Labels (D, H, W): each voxel goes to the target surest of it, if any is surer than not.

    But a target that lies in a larger one, as a lesion in its organ, has its voxels: the larger one is surest where
    it is deepest. Ties go to the lower label, whatever the order of the answers.
    """
    ordered = sorted(zip(indices, answers, strict=True), key=lambda pair: pair[0])
    labels = torch.zeros(shape, dtype=torch.int32)
    best = torch.zeros(shape)
    for index, answer in ordered:
        surer = answer.logits > best[answer.where]
        best[answer.where] = torch.where(surer, answer.logits, best[answer.where])
        labels[answer.where] = torch.where(surer, index, labels[answer.where])
    for inner, outer, index, larger in _nested(ordered):
        here, there = inner.overlap(outer.where)
        part = labels[inner.where][here]
        mine = (inner.logits[here] > 0) & (outer.logits[there] > 0) & (part == larger)
        part[mine] = index
    return _compact(labels, indices)


def stack(answers: Sequence[Answer], indices: Sequence[int], shape: Shape) -> np.ndarray:
    """Labels (D, H, W) of targets that were ranked: a lower label covers a higher one, and loses nothing to it."""
    labels = torch.zeros(shape, dtype=torch.int32)
    for index, answer in sorted(zip(indices, answers, strict=True), key=lambda pair: -pair[0]):
        labels[answer.where] = torch.where(answer.logits > 0, index, labels[answer.where])
    return _compact(labels, indices)


def _compact(labels: Tensor, indices: Sequence[int]) -> np.ndarray:
    dtype = np.uint8 if max(indices, default=0) <= 255 else np.uint16
    return labels.numpy().astype(dtype)


def _nested(ordered: Sequence[tuple[int, Answer]]) -> Iterator[tuple[Answer, Answer, int, int]]:
    """Pairs of an answer and a larger one that most of it lies in, with their labels; the largest first."""
    sizes = np.array([int((answer.logits > 0).sum()) for _, answer in ordered])
    bounds = np.array([[(s.start, s.stop) for s in answer.where] for _, answer in ordered]).reshape(-1, 3, 2)
    for i in np.argsort(-sizes, kind="stable").tolist():
        met = (bounds[:, :, 0] < bounds[i, :, 1]) & (bounds[i, :, 0] < bounds[:, :, 1])
        larger_ones = met.all(1) & (sizes > NESTED_SIZE * sizes[i]) & (sizes[i] > 0)
        for j in np.flatnonzero(larger_ones).tolist():
            (index, inner), (larger, outer) = ordered[i], ordered[j]
            here, there = inner.overlap(outer.where)
            shared = int(((inner.logits[here] > 0) & (outer.logits[there] > 0)).sum())
            if shared > NESTED_SHARE * sizes[i]:
                yield inner, outer, index, larger


def honour_clicks(labels: np.ndarray, targets: Sequence[Target]) -> None:
    """Sets the voxel of every click as it says, in place.

    A foreground click's voxel is in its class and a background click's is not. Of one class's clicks on the
    same voxel the latest counts; a voxel clicked as foreground by a class is not touched by another class's
    background click. Of two classes that both claim it, the one that clicked it in a later round has it: each
    class has one click a round, so that its k-th click is of round k (or later, if it was perfect in between);
    in the same round, the later class in the file.
    """
    verdicts: dict[tuple[int, int, int], dict[int, tuple[int, bool]]] = {}
    for target in targets:
        clicks = zip(target.clicks.points, target.clicks.foreground, strict=True)
        for number, (point, foreground) in enumerate(clicks):
            verdicts.setdefault(point, {})[target.index] = number, foreground
    for point, by_class in verdicts.items():
        claims = [(number, index) for index, (number, foreground) in by_class.items() if foreground]
        if claims:
            labels[point] = max(claims)[1]
        elif int(labels[point]) in by_class:
            labels[point] = 0
