"""Real cases in other shapes and looks: bodies and scanners are short, not minutes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from lexor.geometry import Shape
from lexor.training.labelled import Targets
from lexor.training.samples import Subject
from lexor.training.synthetic import smooth_noise

# Kept around a target on each side: so many times its size, and at least so many voxels.
MARGIN, LEAST_MARGIN = 1.5, 12
# Turned about z by up to so many radians, slanted along z by so much of its width, at one standard deviation.
TURN, SLANT = np.pi / 4, 0.15
# Displaced by up to this share of the target's size, in bumps of about that size over the number.
BEND, BUMPS = 0.15, 1.5
# The shares of cases whose grey values are stretched anew, in their order or in any.
STRETCHED, SHUFFLED = 0.4, 0.15
KNOTS = 6


def varied(subject: Subject, target: int, rng: np.random.Generator) -> tuple[Subject, int]:
    """The surroundings of a target, turned, slanted and bent at random, with other grey values now and then.

    Args:
        subject: a case whose masks are of one label volume; others are returned as they are.
        target: index of its mask.
        rng: of this sample.

    Returns:
        The new case and the index of the same label in it; the given ones where nothing of the target is left.
    """
    if not isinstance(subject.targets, Targets):
        return subject, target
    labels, value = subject.targets.labels, subject.targets.values[target]
    found = ndimage.find_objects(subject.targets[target].view(np.uint8))[0]
    low, high = np.array([(s.start, s.stop) for s in found]).T
    margin = np.maximum(MARGIN * (high - low), LEAST_MARGIN).astype(int)
    near = tuple(
        slice(max(0, a - m), min(n, b + m))
        for a, b, m, n in zip(low, high, margin, labels.shape, strict=True)
    )
    shape: Shape = tuple(s.stop - s.start for s in near)
    middle = (low + high - 1) / 2 - [s.start for s in near]
    grid = _grid(shape, middle, high - low, subject.ratio, rng)
    moved = _resampled(labels[near], grid, "nearest").astype(labels.dtype)
    if not (moved == value).any():
        return subject, target
    image = _resampled(_restyled(subject.image[near], rng), grid, "bilinear")
    targets = Targets(moved)
    return (
        Subject(np.rint(image).astype(np.uint8), targets, subject.ratio, subject.group),
        targets.values.index(value),
    )


def _grid(
    shape: Shape, middle: np.ndarray, size: np.ndarray, ratio: float, rng: np.random.Generator
) -> Tensor:
    """Where each voxel of a volume comes from, (D, H, W, 3), as `grid_sample` wants it: x, y, z, and -1 and 1 are the
    outer edges of the first and last voxels."""
    z, y, x = (
        torch.arange(n, dtype=torch.float32).view(view) - float(m)
        for n, m, view in zip(shape, middle, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    turn = rng.uniform(-TURN, TURN)
    slant = rng.normal(0, SLANT, 2) * size[1:] / size[0]
    cells = float(BUMPS * np.max(np.array(shape) / size))
    bend = rng.uniform(0, BEND, 3) * size
    bends = [b * smooth_noise(shape, cells, rng, (ratio, 1.0, 1.0)) for b in bend.tolist()]
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    from_z = z + bends[0]
    from_y = cos * y - sin * x + float(slant[0]) * z + bends[1]
    from_x = sin * y + cos * x + float(slant[1]) * z + bends[2]
    source = torch.stack([a + float(m) for a, m in zip((from_z, from_y, from_x), middle, strict=True)], -1)
    return ((source + 0.5) / torch.tensor(shape, dtype=torch.float32) * 2 - 1).flip(-1)


def _resampled(volume: np.ndarray, grid: Tensor, mode: str) -> np.ndarray:
    """A volume (D, H, W) read at those places, float32, its edges repeated."""
    values = torch.from_numpy(volume.astype(np.float32))[None, None]
    read: np.ndarray = F.grid_sample(values, grid[None], mode, "border", align_corners=False)[0, 0].numpy()
    return read


def _restyled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A uint8 image through a random curve of grey values now and then: rising, or up and down."""
    kind = rng.random()
    if kind >= STRETCHED + SHUFFLED:
        return image
    values = rng.uniform(0, 255, KNOTS)
    if kind < STRETCHED:
        values.sort()
    at = np.linspace(0, 255, KNOTS)
    curve = np.interp(np.arange(256), at, values)
    # Half of what it was stays, so that tissues seldom become one.
    curve = 0.5 * curve + 0.5 * np.arange(256)
    restyled: np.ndarray = np.rint(curve).astype(np.uint8)[image]
    return restyled
