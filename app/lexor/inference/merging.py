"""Answers of single targets, and the label volume they make together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lexor.inference.targets import Target
from lexor.inference.views import Shape, Triple, View

Slices = tuple[slice, slice, slice]


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

    def _inside(self, view: View) -> View:
        """The view in the coordinates of `where`."""
        low, high = (
            tuple(edge - s.start for edge, s in zip(edges, self.where, strict=True))
            for edges in (view.lower, view.upper)
        )
        return View((low[0], low[1], low[2]), (high[0], high[1], high[2]), view.shape)

    def read(self, view: View) -> Tensor:
        """The logits (1, d, h, w) as a view shows them; what was not looked at repeats the nearest voxel."""
        return self._inside(view).read(self.logits[None])

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

    Ties go to the lower label, whatever the order of the answers.
    """
    labels = torch.zeros(shape, dtype=torch.int32)
    best = torch.zeros(shape)
    for index, answer in sorted(zip(indices, answers, strict=True), key=lambda pair: pair[0]):
        surer = answer.logits > best[answer.where]
        best[answer.where] = torch.where(surer, answer.logits, best[answer.where])
        labels[answer.where] = torch.where(surer, index, labels[answer.where])
    dtype = np.uint8 if max(indices, default=0) <= 255 else np.uint16
    return labels.numpy().astype(dtype)


def honour_clicks(labels: np.ndarray, targets: Sequence[Target]) -> None:
    """Sets the voxel of every click as it says, in place.

    A foreground click's voxel is in its class and a background click's is not. Of one class's clicks on the
    same voxel the latest counts; a voxel clicked as foreground by a class is not touched by another class's
    background click, and of two classes that both claim it the later one in the file has it.
    """
    verdicts: dict[tuple[int, int, int], dict[int, bool]] = {}
    for target in targets:
        for point, foreground in zip(target.clicks.points, target.clicks.foreground, strict=True):
            verdicts.setdefault(point, {})[target.index] = foreground
    for point, by_class in verdicts.items():
        claims = [index for index, foreground in by_class.items() if foreground]
        if claims:
            labels[point] = claims[-1]
        elif by_class.get(int(labels[point])) is False:
            labels[point] = 0
