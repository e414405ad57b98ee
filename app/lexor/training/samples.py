"""Training samples: one target of one volume, seen as inference will see it, with simulated prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cc3d
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lexor.case import Box
from lexor.inference.following import ELONGATION, elongation, piece_length, prolonged
from lexor.inference.framing import Framing, frame, normalise
from lexor.inference.views import Shape, View
from lexor.models.prompts import WindowPrompts
from lexor.training.synthetic import blur, smooth_noise

MAX_CLICKS = 5
# Targets so many times as long as wide are shown piecewise now and then, though they will not be followed.
LONG = 1.8


@dataclass
class Subject:
    """A volume with its targets: uint8 image (D, H, W), boolean masks, slice distance over pixel size."""

    image: np.ndarray
    targets: Sequence[np.ndarray]
    ratio: float = 1.0
    group: str = ""


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


@dataclass
class Sample:
    """Tensors of one sample; see WindowPrompts. `box` is NaN where there is none, `previous` zero likewise."""

    image: Tensor
    target: Tensor
    box: Tensor
    z_mid: Tensor
    previous: Tensor
    points: list[tuple[float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def challenge_box(
    mask: np.ndarray, rng: np.random.Generator, plane: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """The challenge's box of a mask: z of the whole, y/x of the middle slice loosened by 0-5 pixels per 256.

    `plane` overrides the slice's size (H, W) in that law. Returns half-open lower, upper (3,) and z_mid.
    """
    where = ndimage.find_objects(mask.view(np.uint8))[0]
    local = mask[where]
    slices = np.flatnonzero(local.any((1, 2)))
    middle = int(slices[len(slices) // 2])
    rows, columns = np.flatnonzero(local[middle].any(1)), np.flatnonzero(local[middle].any(0))
    shift = int(rng.integers(0, 6))
    height, width = plane or mask.shape[1:]
    dy, dx = int(shift * height / 256), int(shift * width / 256)
    y, x = where[1].start, where[2].start
    lower = np.array([where[0].start, max(0, y + rows[0] - dy), max(0, x + columns[0] - dx)], float)
    upper = np.array(
        [
            where[0].stop,
            min(mask.shape[1], y + rows[-1] + 1 + dy),
            min(mask.shape[2], x + columns[-1] + 1 + dx),
        ],
        float,
    )
    return lower, upper, where[0].start + middle


def augment(window: Tensor, rng: np.random.Generator) -> Tensor:
    """Random look of a window (1, d, h, w) of values 0..255: contrast, noise, blur, bias, polarity."""
    x = window[0] / 255
    shape: Shape = (x.shape[0], x.shape[1], x.shape[2])
    if rng.random() < 0.35:
        x = x.clamp(min=0).pow(float(np.exp(rng.normal(0, 0.4))))
    if rng.random() < 0.25:
        x = x * torch.exp(rng.uniform(0, 0.3) * smooth_noise(shape, rng.uniform(1, 3), rng))
    if rng.random() < 0.2:
        x = blur(x, (rng.uniform(0, 1.0), *rng.uniform(0.3, 1.5, 1).repeat(2)))
    if rng.random() < 0.3:
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        if rng.random() < 0.5:
            noise = blur(noise, (0.5, 0.8, 0.8))
        x = x + rng.uniform(0, 0.25) * float(x.std()) * noise
    if rng.random() < 0.12:
        low, high = np.quantile(x.numpy()[::2, ::2, ::2], sorted(rng.uniform(0, 1, 2)))
        if high - low > 0.1:
            x = x.clamp(float(low), float(high))
    if rng.random() < 0.1:
        x = -x
    return x[None]


def degrade(target: Tensor, rng: np.random.Generator) -> Tensor:
    """Logits of a plausible wrong answer for a target (1, d, h, w): grown, shrunk, holed, drifted."""
    shape: Shape = (target.shape[1], target.shape[2], target.shape[3])
    sigma = rng.uniform(0.5, 3.0)
    logits = (blur(target[0], (sigma * 0.6, sigma, sigma)) - 0.5) * rng.uniform(6, 14)
    logits = logits + rng.uniform(0.3, 3.0) * smooth_noise(shape, rng.uniform(2, 8), rng) + rng.normal(0, 0.8)
    if rng.random() < 0.3:
        shift = [int(s) for s in rng.integers(-3, 4, 3)]
        logits = torch.roll(logits, shift, (0, 1, 2))
    return logits[None].clamp(-6, 6)


def error_click(
    answer: np.ndarray, truth: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[float, float, float], int] | None:
    """The evaluator's click: the innermost voxel of the largest wrong component; None where nothing is wrong."""
    wrong = answer != truth
    if not wrong.any():
        return None
    labelled = cc3d.connected_components(wrong, connectivity=26)
    counts = np.bincount(labelled.ravel())
    counts[0] = 0
    largest = labelled == counts.argmax()
    where = ndimage.find_objects(largest.view(np.uint8))[0]
    depth = ndimage.distance_transform_edt(np.pad(largest[where], 1))[1:-1, 1:-1, 1:-1]
    best = np.argwhere(depth >= depth.max() - 1e-6)
    local = best[rng.integers(len(best))]
    z, y, x = (int(a) + s.start for a, s in zip(local, where, strict=True))
    return (float(z), float(y), float(x)), int(truth[z, y, x])


def _reoriented(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    axes = [(1, 0, 2), (2, 1, 0)][rng.integers(2)]
    return image.transpose(axes), mask.transpose(axes)


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


def make_sample(
    subject: Subject, target: int, window: Shape, mix: Mix, rng: np.random.Generator
) -> Sample | None:
    """One sample of a target, or None where the random view holds nothing to learn from."""
    image, mask, ratio = subject.image, subject.targets[target], subject.ratio
    if rng.random() < mix.other_axes:
        image, mask = _reoriented(image, mask, rng)
        ratio = 1.0
    # Synthetic volumes stand for larger ones: the loosening law depends on the size of the slice.
    scale = rng.uniform(1, 2.5) if subject.group == "synthetic" else 1.0
    plane = (mask.shape[1] * scale, mask.shape[2] * scale)
    lower, upper, z_mid = challenge_box(mask, rng, plane)
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
    whole = Box(tuple(lower.astype(int)), tuple(upper.astype(int)), z_mid)
    length = elongation(whole, ratio)
    share = mix.pieces if length > ELONGATION else mix.pieces / 2 if length > LONG else 0.0
    if not zoom_in and boxed and rng.random() < share:
        piece, prompt = _piece(mask, whole, ratio, rng)
        seen_lower, seen_upper = np.array(piece.lower, float), np.array(piece.upper, float)
        lower, upper, z_mid = np.array(prompt.lower, float), np.array(prompt.upper, float), prompt.z_mid
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None]
    truth = torch.from_numpy(np.ascontiguousarray(mask))[None]
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
        box=view.edges_to_window(torch.tensor(np.stack([lower, upper]), dtype=torch.float32)).flatten(),
        z_mid=view.points_to_window(torch.tensor([z_mid, 0.0, 0.0]))[0],
        previous=previous,
    )
    if clicks:
        _add_clicks(sample, inside, boxed, rng)
    if not boxed:
        sample.box = torch.full((6,), float("nan"))
    return _flipped(sample, window, rng)


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
    """A looser, off-centre view: without a box nobody knows the target's size."""
    low, high = [], []
    for axis in range(3):
        length = (view.upper[axis] - view.lower[axis]) * rng.uniform(1.0, 2.5)
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
    grid = np.indices(truth.shape).astype(np.float32)
    for _ in range(count):
        click = error_click(answer, truth, rng)
        if click is None:
            return
        point, label = click
        sample.points.append(point)
        sample.labels.append(label)
        # A model mends what is near its click.
        distance = sum(((grid[a] - point[a]) / (truth.shape[a] * 0.15)) ** 2 for a in range(3))
        answer = np.where(distance < rng.uniform(0.3, 2), truth, answer)


def _flipped(sample: Sample, window: Shape, rng: np.random.Generator) -> Sample:
    """Mirrors each axis with probability 1/2 and swaps y and x likewise."""
    for axis in range(3):
        if rng.random() < 0.5:
            for name in ("image", "target", "previous"):
                setattr(sample, name, getattr(sample, name).flip(axis + 1))
            size = window[axis]
            box = sample.box.clone()
            box[axis], box[axis + 3] = size - sample.box[axis + 3], size - sample.box[axis]
            sample.box = box
            if axis == 0:
                sample.z_mid = size - 1 - sample.z_mid
            sample.points = [
                tuple(size - 1 - c if a == axis else c for a, c in enumerate(p))  # type: ignore[misc]
                for p in sample.points
            ]
    if window[1] == window[2] and rng.random() < 0.5:
        for name in ("image", "target", "previous"):
            setattr(sample, name, getattr(sample, name).transpose(2, 3))
        sample.box = sample.box[[0, 2, 1, 3, 5, 4]]
        sample.points = [(z, x, y) for z, y, x in sample.points]
    return sample


def collate(samples: list[Sample]) -> tuple[Tensor, Tensor, WindowPrompts]:
    """Images (B, 1, d, h, w), targets alike, and their prompts."""
    most = max(len(s.points) for s in samples)
    points = torch.zeros(len(samples), most, 3)
    labels = torch.full((len(samples), most), -1, dtype=torch.int64)
    for i, sample in enumerate(samples):
        for j, (point, label) in enumerate(zip(sample.points, sample.labels, strict=True)):
            points[i, j] = torch.tensor(point)
            labels[i, j] = label
    prompts = WindowPrompts(
        boxes=torch.stack([s.box for s in samples]),
        z_mid=torch.stack([s.z_mid for s in samples]),
        points=points,
        labels=labels,
        previous=torch.stack([s.previous for s in samples]),
    )
    return (
        torch.stack([s.image for s in samples]).contiguous(),
        torch.stack([s.target for s in samples]).contiguous(),
        prompts,
    )
