"""Following a long object from the slice on which its box was measured to both of its ends.

The challenge measures a box's y and x on one slice only. A spinal cord or a vessel leaves such a box within a few
slices, so its whole length is not segmented from it: a short piece around the measured slice is, and each next
piece is prompted with a box measured on the last slices of the piece before, until the box's z range is walked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lexor.case import Box
from lexor.inference.framing import frame
from lexor.inference.merging import Answer, Slices
from lexor.inference.runner import Look, Runner, previous_logits
from lexor.inference.targets import Target
from lexor.inference.views import Shape, Triple

# An object is followed if it is this many times as long as its box is wide.
ELONGATION = 2.5
# A piece is so many widths long, and at least so many slices.
PIECE_WIDTHS = 2.0
PIECE_SLICES = 6
# A piece's prompt reaches so many of its lengths to both sides, past the piece: a tube, not an ellipsoid.
PROMPT_REACH = 1.5
# From one measured slice to the next a box's area changes by at most this factor.
GROWTH = 2.0
# The logit of what no piece looked at.
OUTSIDE = -6.0


def elongation(box: Box, ratio: float) -> float:
    """Length along z over width in-plane, both in pixels; `ratio` is slice distance over pixel size."""
    depth, height, width = box.shape
    return depth * ratio / float(np.sqrt(height * width))


def piece_length(height: float, width: float, ratio: float) -> int:
    """Slices of a piece of an object that is `height` x `width` pixels wide."""
    return max(PIECE_SLICES, round(PIECE_WIDTHS * float(np.sqrt(height * width)) / ratio))


def prolonged(box: Box, length: int) -> Box:
    """The box as a piece's prompt: it goes on past the piece on both sides of its measured slice."""
    reach = round(PROMPT_REACH * length)
    return Box((box.z_mid - reach, *box.lower[1:]), (box.z_mid + reach + 1, *box.upper[1:]), box.z_mid)


@dataclass(frozen=True)
class _Step:
    """A piece to look at: its part of the volume, the slice its y and x were measured on, and the way it goes."""

    track: _Track
    piece: Box
    way: int


@dataclass(eq=False)
class _Track:
    """One target's walk: its whole box, the length of its pieces, and the answers seen so far."""

    target: Target
    box: Box
    length: int
    answers: list[tuple[Slices, Tensor]] = field(default_factory=list)
    step: Triple = (1.0, 1.0, 1.0)

    def first(self) -> _Step:
        """The piece around the measured slice."""
        start = max(self.box.lower[0], self.box.z_mid - self.length // 2)
        stop = max(min(self.box.upper[0], start + self.length), self.box.z_mid + 1)
        lower, upper = (start, *self.box.lower[1:]), (stop, *self.box.upper[1:])
        return _Step(self, Box(lower, upper, self.box.z_mid), 0)

    def after(self, step: _Step, where: Slices, logits: Tensor) -> list[_Step]:
        """Records a step's answer; returns the steps that follow from it."""
        self.answers.append((where, logits))
        steps = []
        for way in (-1, 1) if step.way == 0 else (step.way,):
            done = step.piece.upper[0] if way > 0 else step.piece.lower[0]
            if done == (self.box.upper[0] if way > 0 else self.box.lower[0]):
                continue
            # The last slice has context on one side only; the one before it is measured, and seen again.
            seed = done - 2 if way > 0 else done + 1
            seed = min(max(seed, step.piece.lower[0]), step.piece.upper[0] - 1)
            start = seed if way > 0 else max(self.box.lower[0], seed + 1 - self.length)
            stop = min(self.box.upper[0], seed + self.length) if way > 0 else seed + 1
            lower, upper = _measure(logits[seed - where[0].start], step.piece, where)
            steps.append(_Step(self, Box((start, *lower), (stop, *upper), seed), way))
        return steps

    def joined(self, shape: Shape) -> Answer:
        """The mean of the answers wherever they looked."""
        low = [min(where[axis].start for where, _ in self.answers) for axis in range(3)]
        high = [max(where[axis].stop for where, _ in self.answers) for axis in range(3)]
        size = [stop - start for start, stop in zip(low, high, strict=True)]
        total, count = torch.zeros(size), torch.zeros(size)
        for where, logits in self.answers:
            here = tuple(slice(s.start - start, s.stop - start) for s, start in zip(where, low, strict=True))
            total[here] += logits
            count[here] += 1
        mean = torch.where(count > 0, total / count.clamp(min=1), OUTSIDE)
        z, y, x = (slice(start, stop) for start, stop in zip(low, high, strict=True))
        return Answer((z, y, x), mean, shape, self.step)


def follow(runner: Runner, volume: Tensor, targets: Sequence[Target], ratio: float) -> dict[int, Answer]:
    """Answers of targets with a box, walked piece by piece; all of them take a step in one batch.

    Args:
        runner: the model.
        volume: (1, D, H, W) uint8 tensor.
        targets: targets whose box has the exact z range.
        ratio: slice distance over pixel size.
    """
    shape: Shape = (volume.shape[1], volume.shape[2], volume.shape[3])
    tracks = []
    for target in targets:
        assert target.box is not None
        tracks.append(_Track(target, target.box, piece_length(*target.box.shape[1:], ratio)))
    steps = [track.first() for track in tracks]
    while steps:
        looks, owners = [], {}
        for step in steps:
            view = frame(_floats(step.piece.lower), _floats(step.piece.upper), shape, runner.window, ratio)
            target = replace(step.track.target, box=prolonged(step.piece, step.track.length))
            looks.append(Look(view, target, previous_logits(target, view)))
            owners[id(looks[-1])] = step
        steps = []
        for look, logits in runner.logits(volume, looks):
            step = owners[id(look)]
            seen, values = look.view.write(logits, shape)
            inside = slice(max(seen[0].start, step.piece.lower[0]), min(seen[0].stop, step.piece.upper[0]))
            part = values[0][inside.start - seen[0].start : inside.stop - seen[0].start]
            step.track.step = look.view.step
            steps += step.track.after(step, (inside, seen[1], seen[2]), part)
    return {track.target.index: track.joined(shape) for track in tracks}


def _measure(logits: Tensor, piece: Box, where: Slices) -> tuple[tuple[int, int], tuple[int, int]]:
    """Bounds (y, x) of the largest part of the object on a slice; those of the piece where nothing is seen."""
    old_lower, old_upper = piece.lower[1:], piece.upper[1:]
    labelled, count = ndimage.label((logits > 0).numpy())
    if count == 0:
        return old_lower, old_upper
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    part = ndimage.find_objects((labelled == sizes.argmax()).view(np.uint8))[0]
    found = [(s.start + w.start, s.stop + w.start) for s, w in zip(part, where[1:], strict=True)]
    old = [upper - lower for lower, upper in zip(old_lower, old_upper, strict=True)]
    change = np.prod([stop - start for start, stop in found]) / np.prod(old)
    if not 1 / GROWTH <= change <= GROWTH:
        # Leaked or nearly lost: go on from where it is, at the size it had.
        found = [_moved(a, b, n, w) for (a, b), n, w in zip(found, old, where[1:], strict=True)]
    (y, y_end), (x, x_end) = found
    return (y, x), (y_end, x_end)


def _moved(start: int, stop: int, size: int, limits: slice) -> tuple[int, int]:
    """An interval of that size (or as much as fits) in the limits, its middle near that of [start, stop)."""
    size = min(size, limits.stop - limits.start)
    first = min(max((start + stop - size) // 2, limits.start), limits.stop - size)
    return first, first + size


def _floats(corner: Sequence[int]) -> Triple:
    return float(corner[0]), float(corner[1]), float(corner[2])
