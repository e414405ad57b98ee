"""One target of one volume, seen as inference will see it, with simulated prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lexor.geometry import Box, Shape
from lexor.inference.framing import frame, normalise
from lexor.inference.settings import SETTINGS, Framing
from lexor.inference.strategies.tracked import elongation, piece_length, prolonged
from lexor.inference.views import View
from lexor.protocol.boxes import draw_box
from lexor.training.samples import (
    MAX_CLICKS,
    Sample,
    Subject,
    augment,
    box_edges,
    box_middle,
    channel,
    click_others,
    degrade,
    error_click,
    flipped,
    hidden_part,
    near_click,
)
from lexor.training.search_samples import make_search_sample

# Targets so many times as long as wide are shown piecewise now and then, though they will not be followed.
LONG = 1.8
# Without a box this share of views is of any size between these factors of a box's view: so inference tries them.
ANY_SIZE_SHARE = 0.45
ANY_SIZE = (0.4, 6.0)
# Orders of the axes in which another one than z runs from slice to slice.
OTHER_AXES = ((1, 0, 2), (2, 1, 0))


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of sample; what is left is the plain box."""

    zoom_in: float = 0.1
    clicks: float = 0.15
    # Of the samples with clicks, how many have no box.
    no_box: float = 0.35
    other_axes: float = 0.1
    # Of the targets long enough to be followed (`inference.following`), how many are shown piecewise, as they
    # will be then; of those nearly as long, half as many.
    pieces: float = 0.9
    # Boxes as an automatic prompt proposes them: beside the target, too large, or over nothing at all. From these
    # only the quality of an answer is learnt; the masks are learnt from boxes as the challenge gives them.
    doubtful: float = 0.0
    # Of the samples with clicks, how many have those on other targets too: they are not in this one.
    others: float = 0.0
    # Looks of the search for a target that only clicks point at (`search_samples`).
    searched: float = 0.0


def make_sample(
    subject: Subject, target: int, window: Shape, mix: Mix, rng: np.random.Generator
) -> Sample | None:
    """One sample of a target, or None where the random view holds nothing to learn from."""
    if mix.doubtful and rng.random() < mix.doubtful:
        return _doubtful(subject, target, window, rng)
    if mix.searched and rng.random() < mix.searched:
        return make_search_sample(subject, target, window, mix.others, rng)
    image, mask, ratio = subject.image, subject.targets[target], subject.ratio
    axes = (0, 1, 2)
    if rng.random() < mix.other_axes:
        axes, ratio = OTHER_AXES[rng.integers(len(OTHER_AXES))], 1.0
    image, mask = image.transpose(axes), mask.transpose(axes)
    # Synthetic volumes stand for larger ones: the loosening law depends on the size of the slice.
    scale = rng.uniform(1, 2.5) if subject.group == "synthetic" else 1.0
    plane = (mask.shape[1] * scale, mask.shape[2] * scale)
    drawn = draw_box(mask, rng, plane)
    lower, upper, z_mid = np.array(drawn.lower, float), np.array(drawn.upper, float), drawn.z_mid
    framing = Framing(
        rng.uniform(1.1, 1.6),
        rng.uniform(1.2, 1.9),
        rng.uniform(0, 0.3),
        (rng.uniform(6, 12), *rng.uniform(24, 40, 1).repeat(2)),
    )
    kind = rng.random()
    zoom_in = kind < mix.zoom_in
    clicks = mix.zoom_in <= kind < mix.zoom_in + mix.clicks
    boxed = not (clicks and rng.random() < mix.no_box)
    seen_lower, seen_upper = lower, upper
    whole_seen = not zoom_in
    length = elongation(drawn, ratio)
    share = mix.pieces if length > SETTINGS.tracking.elongation else mix.pieces / 2 if length > LONG else 0.0
    if not zoom_in and boxed and rng.random() < share:
        piece, prompt = _piece(mask, drawn, ratio, rng)
        seen_lower, seen_upper = np.array(piece.lower, float), np.array(piece.upper, float)
        lower, upper, z_mid = np.array(prompt.lower, float), np.array(prompt.upper, float), prompt.z_mid
        whole_seen = False
    tensor = channel(image)
    truth = channel(mask)
    volume_shape: Shape = (image.shape[0], image.shape[1], image.shape[2])

    view = frame(tuple(seen_lower), tuple(seen_upper), volume_shape, window, ratio, framing)
    previous = torch.zeros(1, *window)
    if zoom_in:
        coarse = degrade(view.read(truth), rng)
        view, previous = _closer(view, truth, coarse, volume_shape, window, rng)
    elif not boxed:
        view = _around(view, volume_shape, window, rng)
    answer = view.read(truth).clamp(0, 1)
    inside = answer[0].numpy() > 0.5
    if not inside.any() and not zoom_in:
        return None
    sample = Sample(
        image=normalise(augment(view.read(tensor), rng)),
        target=answer,
        box=box_edges(view, lower, upper),
        z_mid=box_middle(view, z_mid),
        previous=previous,
        hidden=hidden_part(mask, answer, view) if whole_seen else 0.0,
    )
    if clicks:
        _add_clicks(sample, inside, boxed, rng)
        if mix.others and rng.random() < mix.others:
            others = [other.transpose(axes) for i, other in enumerate(subject.targets) if i != target]
            click_others(sample, others, view, inside, rng)
    if not boxed:
        sample.box = torch.full((6,), float("nan"))
    return flipped(sample, window, rng)


def _piece(mask: np.ndarray, box: Box, ratio: float, rng: np.random.Generator) -> tuple[Box, Box]:
    """A piece of a long target and its prompt, as met when it is followed: the part of the volume to look at, and
    the given box where the track puts it on the piece's middle slice, not without error."""
    found = ndimage.find_objects(mask.view(np.uint8))[0]
    local = mask[found]
    seed = int(rng.choice(np.flatnonzero(local.any((1, 2)))))
    rows, columns = np.flatnonzero(local[seed].any(1)), np.flatnonzero(local[seed].any(0))
    size = np.array(box.shape[1:])
    corner = np.array([found[1].start, found[2].start])
    middle = corner + np.array([rows[0] + rows[-1] + 1, columns[0] + columns[-1] + 1]) / 2
    # Most tracks stay within a pixel, some are lost.
    error = 0.4 + 0.08 * size if rng.random() < 0.8 else 1.0 + 0.3 * size
    low = np.rint(middle + rng.normal(0, error) - size / 2).astype(int)
    low = np.clip(low, 1 - size, np.array(mask.shape[1:]) - 1)
    height, width = rng.uniform(0.75, 1.25) * size
    length = piece_length(height, width, ratio)
    z = seed + found[0].start
    start = min(max(z - length // 2, box.lower[0]), z)
    stop = max(min(start + length, box.upper[0]), z + 1)
    piece = Box((start, int(low[0]), int(low[1])), (stop, *(int(n) for n in low + size)), z)
    return piece, prolonged(piece, length)


def _closer(
    view: View, truth: Tensor, coarse: Tensor, volume_shape: Shape, window: Shape, rng: np.random.Generator
) -> tuple[View, Tensor]:
    """A finer view inside a view, near the target's surface, with the coarse answer as it looks there."""
    where, logits = view.write(coarse, volume_shape)
    local = truth[0][where].numpy()
    surface = local & ~ndimage.binary_erosion(local)
    spots = np.argwhere(surface if surface.any() else local)
    centre = spots[rng.integers(len(spots))] + 0.5 + np.array([s.start for s in where])
    low, high = [], []
    for axis in range(3):
        length = (view.upper[axis] - view.lower[axis]) * rng.uniform(0.35, 0.9)
        length = max(length, min(window[axis] / 2, view.upper[axis] - view.lower[axis]))
        start = centre[axis] - length * rng.uniform(0.25, 0.75)
        start = min(max(start, 0.0), volume_shape[axis] - length) if length < volume_shape[axis] else 0.0
        low.append(float(start))
        high.append(float(min(start + length, volume_shape[axis])))
    closer = View((low[0], low[1], low[2]), (high[0], high[1], high[2]), window)
    full = torch.full((1, *volume_shape), float(coarse.min()))
    full[(slice(None), *where)] = logits
    return closer, closer.read(full)


def _around(view: View, volume_shape: Shape, window: Shape, rng: np.random.Generator) -> View:
    """A looser, off-centre view, or one of another size altogether: without a box nobody knows the target's."""
    low, high = [], []
    scale = float(np.exp(rng.uniform(*np.log(ANY_SIZE)))) if rng.random() < ANY_SIZE_SHARE else None
    for axis in range(3):
        factor = rng.uniform(1.0, 2.5) if scale is None else scale * rng.uniform(0.8, 1.25)
        length = (view.upper[axis] - view.lower[axis]) * factor
        centre = (view.upper[axis] + view.lower[axis]) / 2 + length * rng.uniform(-0.2, 0.2)
        a = min(max(0.0, centre - length / 2), volume_shape[axis] - 1.0)
        low.append(a)
        high.append(max(min(float(volume_shape[axis]), centre + length / 2), a + 1))
    return View((low[0], low[1], low[2]), (high[0], high[1], high[2]), window)


def _add_clicks(sample: Sample, truth: np.ndarray, boxed: bool, rng: np.random.Generator) -> None:
    """One to five clicks by the evaluator's rule, each on an answer a little better than the one before."""
    if boxed or rng.random() < 0.5:
        sample.previous = degrade(sample.target, rng)
    answer = (sample.previous[0] > 0).numpy() if bool(sample.previous.any()) else np.zeros_like(truth)
    count = int(rng.integers(1, MAX_CLICKS + 1)) if rng.random() < 0.65 else 1
    for _ in range(count):
        click = error_click(answer, truth, rng)
        if click is None:
            return
        point, label = click
        sample.points.append(point)
        sample.labels.append(label)
        answer = np.where(near_click(point, truth.shape, rng), truth, answer)


def _doubtful(subject: Subject, target: int, window: Shape, rng: np.random.Generator) -> Sample:
    """A box as an automatic prompt proposes it, scored by the target it meets best, if any; half with a click in
    its middle."""
    image, ratio = subject.image, subject.ratio
    shape: Shape = (image.shape[0], image.shape[1], image.shape[2])
    box = _proposed(subject.targets[target], shape, rng)
    lower, upper = np.array(box.lower, float), np.array(box.upper, float)
    clicked = rng.random() < 0.5
    met = _met(subject.targets, box, clicked)
    view = frame(tuple(lower), tuple(upper), shape, window, ratio)
    answer, hidden = torch.zeros(1, *window), 0.0
    if met is not None:
        answer = view.read(channel(met)).clamp(0, 1)
        hidden = hidden_part(met, answer, view)
    look = view.read(channel(image))
    sample = Sample(
        image=normalise(augment(look, rng)),
        target=answer,
        box=box_edges(view, box.lower, box.upper),
        z_mid=box_middle(view, box.z_mid),
        previous=torch.zeros(1, *window),
        hidden=hidden,
        learnt=False,
    )
    if clicked:
        middle = torch.tensor([(a + b) // 2 for a, b in zip(box.lower, box.upper, strict=True)])
        z, y, x = view.points_to_window(middle.float()).tolist()
        sample.points.append((z, y, x))
        sample.labels.append(1)
    return flipped(sample, window, rng)


def _proposed(mask: np.ndarray, shape: Shape, rng: np.random.Generator) -> Box:
    """A target's bounds moved and scaled, a little or a lot; or a box anywhere."""
    found = ndimage.find_objects(mask.view(np.uint8))[0]
    size = np.array([s.stop - s.start for s in found], float)
    middle = np.array([(s.start + s.stop) / 2 for s in found])
    kind = rng.random()
    if kind < 0.25:
        size = np.array(shape) * np.exp(rng.uniform(np.log(0.04), np.log(0.7), 3))
        middle = rng.uniform(0, shape)
    else:
        shift, stretch = (0.1, 0.15) if kind < 0.55 else (0.35, 0.45)
        middle = middle + rng.normal(0, shift, 3) * size
        size = size * np.exp(rng.normal(0, stretch, 3) + rng.normal(0, stretch))
    low = np.clip(np.rint(middle - size / 2), 0, np.array(shape) - 1).astype(int)
    high = np.clip(np.rint(middle + size / 2), low + 1, shape).astype(int)
    (z, y, x), (zz, yy, xx) = low.tolist(), high.tolist()
    return Box((z, y, x), (zz, yy, xx), (z + zz) // 2)


def _met(targets: Sequence[np.ndarray], box: Box, clicked: bool) -> np.ndarray | None:
    """The target that shares most with a box, and holds its middle voxel where that is clicked; None: no target."""
    inside = tuple(slice(a, b) for a, b in zip(box.lower, box.upper, strict=True))
    middle = tuple((a + b) // 2 for a, b in zip(box.lower, box.upper, strict=True))
    volume = int(np.prod(box.shape))
    best, most = None, 0.0
    for mask in targets:
        if clicked and not mask[middle]:
            continue
        shared = np.count_nonzero(mask[inside])
        share = 2 * shared / (volume + np.count_nonzero(mask)) if shared else 0.0
        if share > most:
            best, most = mask, share
    return best
