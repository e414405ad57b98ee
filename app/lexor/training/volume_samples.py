"""Samples as SegVol is trained: the whole volume zoomed out, or a foreground crop, with random prompts.

Source: paper section 3.3 (box jitter, prompt dropout, random points); SegVol's zoom-out-zoom-in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from lexor.geometry import Shape
from lexor.inference.framing import normalise
from lexor.inference.views import View
from lexor.training.samples import Sample, Subject, augment, channel


@dataclass(frozen=True)
class VolumeMix:
    """How a target is viewed and prompted.

    Attributes:
        zoom_out: share of views of the whole volume; the others are crops around the target, window by voxel.
        jitter: a box's faces move by up to this share of its size.
        dropout: share of boxes, and of sets of points, that are left out; one of both always stays.
        points: most positive, and most negative, points.
        augment: share of samples whose look is varied.
    """

    zoom_out: float = 0.5
    jitter: float = 0.1
    dropout: float = 0.2
    points: float = 3
    augment: float = 0.5


def make_volume_sample(
    subject: Subject, target: int, window: Shape, mix: VolumeMix, rng: np.random.Generator
) -> Sample | None:
    """One sample of a target, None where it is too small to be seen in the random view."""
    image, mask = subject.image, subject.targets[target]
    volume_shape: Shape = (image.shape[0], image.shape[1], image.shape[2])
    if rng.random() < mix.zoom_out:
        lower, upper = (0.0, 0.0, 0.0), tuple(float(n) for n in volume_shape)
    else:
        lower, upper = _crop(mask, window, rng)
    view = View(lower, (upper[0], upper[1], upper[2]), window)
    answer = view.read(channel(mask)).clamp(0, 1)
    inside = answer[0].numpy() > 0.5
    if not inside.any():
        return None
    look = view.read(channel(image))
    if rng.random() < mix.augment:
        look = augment(look, rng)
    boxed = rng.random() >= mix.dropout
    pointed = rng.random() >= mix.dropout or not boxed
    box = _jittered(inside, mix.jitter, rng)
    sample = Sample(
        image=normalise(look),
        target=answer,
        box=box if boxed else torch.full((6,), float("nan")),
        z_mid=(box[0] + box[3] - 1) / 2,
        previous=torch.zeros(1, *window),
    )
    if pointed:
        _add_points(sample, inside, int(mix.points), boxed, rng)
    return sample


def _crop(
    mask: np.ndarray, window: Shape, rng: np.random.Generator
) -> tuple[tuple[float, float, float], tuple[float, ...]]:
    """A box of the window's size, or the volume's where that is smaller, over a random voxel of the target."""
    spots = np.argwhere(mask)
    centre = spots[rng.integers(len(spots))]
    low = []
    for axis in range(3):
        length = min(window[axis], mask.shape[axis])
        start = int(centre[axis]) - int(rng.integers(0, length))
        low.append(float(min(max(start, 0), mask.shape[axis] - length)))
    high = tuple(a + min(w, n) for a, w, n in zip(low, window, mask.shape, strict=True))
    return (low[0], low[1], low[2]), high


def _jittered(inside: np.ndarray, jitter: float, rng: np.random.Generator) -> torch.Tensor:
    """The bounds of what is inside, each face moved by a random share of the size."""
    where = ndimage.find_objects(inside.view(np.uint8))[0]
    low = np.array([s.start for s in where], float)
    high = np.array([s.stop for s in where], float)
    size = high - low
    low, high = low + rng.uniform(-jitter, jitter, 3) * size, high + rng.uniform(-jitter, jitter, 3) * size
    return torch.tensor(np.concatenate([low, high]), dtype=torch.float32)


def _add_points(sample: Sample, inside: np.ndarray, most: int, boxed: bool, rng: np.random.Generator) -> None:
    """Random voxels inside, at least one where nothing else points at the target, and outside."""
    for label, spots in ((1, np.argwhere(inside)), (0, np.argwhere(~inside))):
        fewest = 1 if label and not boxed else 0
        count = int(rng.integers(fewest, max(most, fewest) + 1)) if len(spots) else 0
        for z, y, x in spots[rng.integers(0, len(spots), count)] if count else ():
            sample.points.append((float(z), float(y), float(x)))
            sample.labels.append(label)
