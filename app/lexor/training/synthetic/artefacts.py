"""What goes wrong in scanners, each seldom: rings, streaks, slice jumps, ghosts, dead borders."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def artefacts(image: Tensor, rng: np.random.Generator, scale: float) -> Tensor:
    """The image (D, H, W) with at most a few artefacts; scale: the spread of what is to be seen."""
    depth, height, width = image.shape
    device = image.device
    if rng.random() < 0.12:  # slices acquired apart, or interleaved
        steps = rng.standard_normal((depth, 1, 1)).astype(np.float32) * rng.uniform(0.03, 0.2)
        if rng.random() < 0.4:
            steps[::2] += rng.uniform(-0.4, 0.4)
        image = image + scale * torch.from_numpy(steps).to(device)
    if rng.random() < 0.06:  # a ghost along the phase direction
        image = image + rng.uniform(0.05, 0.2) * image.roll(int(height * rng.uniform(0.2, 0.5)), 1)
    if rng.random() < 0.04:  # rings or streaks around a point
        y = torch.arange(height, device=device)[:, None] - rng.uniform(0.2, 0.8) * height
        x = torch.arange(width, device=device)[None, :] - rng.uniform(0.2, 0.8) * width
        if rng.random() < 0.4:
            wave = torch.sin((y.square() + x.square()).sqrt() * rng.uniform(0.5, 2))
            some = rng.random((depth, 1, 1)).astype(np.float32)
        else:  # metal: rays that fade outwards, on some slices
            wave = torch.sin(torch.atan2(y, x) * float(rng.integers(6, 20)) + rng.uniform(0, 6))
            wave = wave * 3 * torch.exp(-(y.square() + x.square()).sqrt() / (0.25 * height))
            at = np.arange(depth, dtype=np.float32)[:, None, None] - rng.uniform(0, depth)
            some = np.exp(-((at / rng.uniform(1.5, 6)) ** 2)).astype(np.float32)
        image = image + scale * rng.uniform(0.1, 0.5) * wave * torch.from_numpy(some).to(device)
    if rng.random() < 0.05:  # the reconstruction's circle, or an empty border
        y = torch.linspace(-1, 1, height, device=device)[:, None]
        x = torch.linspace(-1, 1, width, device=device)[None, :]
        inside = (
            (y.square() + x.square() < rng.uniform(0.9, 1.3))
            if rng.random() < 0.5
            else (x + 0 * y < rng.uniform(0.6, 0.9))
        )
        image = torch.where(inside, image, image.min())
    return image
