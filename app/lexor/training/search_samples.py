"""Training samples of the search for a target that only clicks point at (`inference.clicking`).

What its looks are prompted with is wrong: a box that was guessed, or one that was measured on a mask which clicks
have corrected since. The target is what the clicks say.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lexor.geometry import Clicks, Shape
from lexor.inference.framing import frame, normalise
from lexor.inference.merging import Answer
from lexor.inference.strategies.searched import box_around, closer_view
from lexor.inference.views import View, triple
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
    squared_radius,
)
from lexor.training.synthetic import blur, smooth_noise

# The share of closer looks; the others have a guessed box.
CLOSER = 0.6
# A guessed box is so many times as wide as the target, between these.
GUESSES = (0.5, 2.0)
# The share of wrong masks that are near the truth; the others may be far too small or too large.
DEGRADED = 0.25


def make_search_sample(
    subject: Subject, target: int, window: Shape, others: float, rng: np.random.Generator
) -> Sample | None:
    """A look of the search: with a guessed box around the first click, or a closer one at a mask that is not right.

    Args:
        subject: has the target.
        target: which one.
        window: (d, h, w) of the sample.
        others: probability that other targets are clicked too, as background.
        rng: of this sample.

    Returns:
        The sample, None where the target is too thin to be seen.
    """
    image, mask, ratio = subject.image, subject.targets[target], subject.ratio
    shape: Shape = (image.shape[0], image.shape[1], image.shape[2])
    found = ndimage.find_objects(mask.view(np.uint8))[0]
    low, high = np.array([(s.start, s.stop) for s in found], float).T
    # Wide enough for answers that are too large.
    room = rng.uniform(0.1, 0.5) * (high - low)
    wide = frame(tuple(low - room), tuple(high + room), shape, window, ratio)
    truth = channel(mask)
    searched = _search_step(wide.read(truth).clamp(0, 1), rng)
    if searched is None:
        return None
    points, labels, wrong = searched
    clicks = Clicks(
        tuple(_voxel(wide, point, shape) for point in points), tuple(label == 1 for label in labels)
    )
    where, logits = wide.write(wrong, shape)
    answer = Answer(where, logits[0], shape, wide.step)
    closer = closer_view(clicks, answer, window, ratio) if rng.random() < CLOSER else None
    if closer is not None:
        view, box = closer
        previous = answer.read(view)
    else:
        half = np.sqrt(np.prod((high - low)[1:])) / 2 * np.exp(rng.uniform(*np.log(GUESSES)))
        box = box_around(clicks, max(1, round(float(half))), shape, ratio)
        view = frame(triple(box.lower), triple(box.upper), shape, window, ratio)
        previous = torch.zeros(1, *window)
    seen = view.read(truth).clamp(0, 1)
    sample = Sample(
        image=normalise(augment(view.read(channel(image)), rng)),
        target=seen,
        box=box_edges(view, box.lower, box.upper),
        z_mid=box_middle(view, box.z_mid),
        previous=previous,
        hidden=hidden_part(mask, seen, view),
    )
    for point, label in zip(clicks.points, labels, strict=True):
        z, y, x = view.points_to_window(torch.tensor(point, dtype=torch.float32)).tolist()
        sample.points.append((z, y, x))
        sample.labels.append(label)
    if others and rng.random() < others:
        rest = [other for i, other in enumerate(subject.targets) if i != target]
        click_others(sample, rest, view, seen[0].numpy() > 0.5, rng)
    return flipped(sample, window, rng)


def _search_step(
    truth: Tensor, rng: np.random.Generator
) -> tuple[list[tuple[float, float, float]], list[int], Tensor] | None:
    """Clicks as a search has met them by then, the first in the middle of a target (1, d, h, w), with their labels,
    and the logits of a mask that it might have found; None where no voxel is the target's by more than a half."""
    inside = truth[0].numpy() > 0.5
    click = error_click(np.zeros_like(inside), inside, rng)
    if click is None:
        return None
    clicks, logits = [click], _mistaken(truth, click[0], rng)
    more = int(rng.integers(MAX_CLICKS))
    for number in range(more):
        click = error_click((logits[0] > 0).numpy(), inside, rng)
        if click is None:
            break
        clicks.append(click)
        if number < more - 1 or rng.random() < 0.5:
            near = torch.from_numpy(near_click(click[0], inside.shape, rng))
            logits = torch.where(near, (truth - 0.5) * 8, logits)
    return [point for point, _ in clicks], [label for _, label in clicks], logits


def _voxel(view: View, point: tuple[float, float, float], shape: Shape) -> tuple[int, int, int]:
    """The volume's voxel that holds a point of a view's window."""
    z, y, x = (
        min(max(int(low + (at + 0.5) * step), 0), size - 1)
        for low, at, step, size in zip(view.lower, point, view.step, shape, strict=True)
    )
    return z, y, x


def _mistaken(truth: Tensor, middle: tuple[float, float, float], rng: np.random.Generator) -> Tensor:
    """Logits of a wrong answer for a target (1, d, h, w): its shape a little off, or another size around a click."""
    if rng.random() < DEGRADED:
        return degrade(truth, rng)
    shape: Shape = (truth.shape[1], truth.shape[2], truth.shape[3])
    found = ndimage.find_objects((truth[0] > 0.5).numpy().view(np.uint8))[0]
    half = np.array([(s.stop - s.start) / 2 for s in found])
    half = np.maximum(half * np.exp(rng.normal(0, 0.4) + rng.normal(0, 0.2, 3)), 1)
    radius = np.sqrt(squared_radius(shape, middle, half))
    ball = torch.from_numpy((1 - radius).astype(np.float32)) * 6
    like = (blur(truth[0], (0.6, 1.0, 1.0)) - 0.5) * 10
    share = rng.uniform(0, 0.8)
    noise = rng.uniform(0.3, 2.0) * smooth_noise(shape, rng.uniform(2, 8), rng)
    return ((1 - share) * ball + share * like + noise)[None].clamp(-6, 6)
