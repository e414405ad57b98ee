"""Training samples: a target in a window with its prompts, and what every recipe does to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lexor.geometry import Shape
from lexor.inference.views import View
from lexor.models.window_prompts import WindowPrompts
from lexor.protocol.clicks import next_click
from lexor.training.synthetic import blur, smooth_noise

# The most clicks that a target gets.
MAX_CLICKS = 5
# Clicks on so many other targets at most, and so many on each.
MOST_OTHERS, OTHERS_CLICKS = 4, 3


@dataclass
class Subject:
    """A volume with its targets: uint8 image (D, H, W), boolean masks, slice distance over pixel size."""

    image: np.ndarray
    targets: Sequence[np.ndarray]
    ratio: float = 1.0
    group: str = ""


@dataclass
class Sample:
    """Tensors of one sample; see WindowPrompts. `box` is NaN where there is none, `previous` zero likewise.

    Attributes:
        hidden: what of the target lies outside of the view, in voxels of the window. A mask of what is seen then
            misses so much, and its quality says so: the small view of a large organ must not look perfect.
        learnt: False where the prompt is not worth a mask; then only the quality of the answer is learnt.
    """

    image: Tensor
    target: Tensor
    box: Tensor
    z_mid: Tensor
    previous: Tensor
    points: list[tuple[float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    hidden: float = 0.0
    learnt: bool = True


@dataclass
class Truth:
    """What a batch is scored by, on one device.

    Attributes:
        mask: (B, 1, d, h, w) float32, 0..1, fractions where a voxel is partly inside.
        hidden: (B,) float32, see `Sample`.
        learnt: (B,) float32, 1 or 0, see `Sample`.
    """

    mask: Tensor
    hidden: Tensor
    learnt: Tensor

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Truth:
        """The same on a device."""
        mask, hidden, learnt = (
            tensor.to(device, non_blocking=non_blocking) for tensor in (self.mask, self.hidden, self.learnt)
        )
        return Truth(mask, hidden, learnt)


def channel(volume: np.ndarray) -> Tensor:
    """A volume or mask (D, H, W), however it lies in memory, as a tensor (1, D, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(volume))[None]


def box_edges(view: View, lower: ArrayLike, upper: ArrayLike) -> Tensor:
    """A box [lower, upper) of the volume in a view's window: (6,) z, y, x of both ends, in voxel edges."""
    corners = np.array([lower, upper], dtype=np.float32)
    return view.edges_to_window(torch.from_numpy(corners)).flatten()


def box_middle(view: View, z_mid: float) -> Tensor:
    """The middle slice of a box, a scalar, in a view's window."""
    return view.points_to_window(torch.tensor([float(z_mid), 0.0, 0.0]))[0]


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
    """The evaluator's click on an answer, as a point and its label; None where nothing is wrong."""
    click = next_click(answer, truth, rng=rng)
    if click is None:
        return None
    (z, y, x), foreground = click
    return (float(z), float(y), float(x)), int(foreground)


def near_click(
    point: tuple[float, float, float], shape: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Where in a window of that shape a model mends its answer after a click, (d, h, w) bool."""
    reach = [size * 0.15 for size in shape]
    return np.asarray(squared_radius(shape, point, reach) < rng.uniform(0.3, 2))


def squared_radius(shape: Sequence[int], middle: Sequence[float], half: Sequence[float]) -> np.ndarray:
    """Of each voxel of a window of that shape from `middle`, (d, h, w); 1 on the ellipsoid of semi-axes `half`."""
    grid = np.indices(shape, dtype=np.float32)
    return np.asarray(sum(((axis - at) / n) ** 2 for axis, at, n in zip(grid, middle, half, strict=True)))


def click_others(
    sample: Sample, others: Sequence[np.ndarray], view: View, inside: np.ndarray, rng: np.random.Generator
) -> None:
    """Clicks on some of the other targets in view, as background: in the middle of what is seen, and anywhere."""
    for i in rng.permutation(len(others))[:MOST_OTHERS]:
        other = channel(others[i])
        part = (view.read(other)[0].numpy() > 0.5) & ~inside
        middle = error_click(np.zeros_like(part), part, rng)
        if middle is None:
            continue
        anywhere = np.argwhere(part)
        more = rng.integers(len(anywhere), size=rng.integers(OTHERS_CLICKS))
        for z, y, x in [middle[0], *anywhere[more].tolist()]:
            sample.points.append((float(z), float(y), float(x)))
            sample.labels.append(0)


def hidden_part(mask: np.ndarray, answer: Tensor, view: View) -> float:
    """The part of a mask that a view does not show, in voxels of its window."""
    return max(0.0, float(np.count_nonzero(mask) / np.prod(view.step)) - float(answer.sum()))


def flipped(sample: Sample, window: Shape, rng: np.random.Generator) -> Sample:
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


def collate(samples: list[Sample]) -> tuple[Tensor, Truth, WindowPrompts]:
    """Images (B, 1, d, h, w), what their answers are scored by, and their prompts."""
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
        Truth(
            torch.stack([s.target for s in samples]).contiguous(),
            torch.tensor([s.hidden for s in samples]),
            torch.tensor([float(s.learnt) for s in samples]),
        ),
        prompts,
    )
