"""Grids, smooth random fields, Gaussian blur: what shapes and textures are made from.

Fields and blurs are products with one small matrix per axis, which is several times faster than interpolation
and convolution for one channel, and the same code on a GPU.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lexor.geometry import Shape

Slices = tuple[slice, slice, slice]


@lru_cache(maxsize=1024)
def _spline(length: int, nodes: int) -> np.ndarray:
    """Cubic B-spline weights (length, nodes) with rows of unit norm: white nodes give a field of unit variance."""
    at = np.linspace(0, nodes - 1, length) if length > 1 else np.zeros(1)
    base = np.floor(at).astype(int)
    f = at - base
    taps = (
        (1 - f) ** 3 / 6,
        (3 * f**3 - 6 * f**2 + 4) / 6,
        (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
        f**3 / 6,
    )
    weights = np.zeros((length, nodes), np.float32)
    for offset, tap in zip((-1, 0, 1, 2), taps, strict=True):
        np.add.at(weights, (np.arange(length), np.clip(base + offset, 0, nodes - 1)), tap)
    unit: np.ndarray = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return unit


def _along_axes(values: Tensor, matrices: tuple[Tensor | None, Tensor | None, Tensor | None]) -> Tensor:
    """Multiplies each axis of (a, b, c) by its matrix (n, a)."""
    z, y, x = matrices
    if z is not None:
        values = (z @ values.reshape(values.shape[0], -1)).reshape(-1, *values.shape[1:])
    if y is not None:
        values = y @ values
    if x is not None:
        values = values @ x.T
    return values


def smooth_noise(
    shape: Shape,
    cells: float,
    rng: np.random.Generator,
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
    device: torch.device | str = "cpu",
) -> Tensor:
    """A smooth random field of about unit variance, with about `cells` bumps along the longest axis.

    scale: the voxel's size per axis: bumps are round in these units.
    """
    if 0 in shape:
        return torch.zeros(shape, device=device)
    lengths = [n * s for n, s in zip(shape, scale, strict=True)]
    longest = max(lengths)
    coarse = tuple(max(2, round(n / longest * cells) + 1) for n in lengths)
    nodes = torch.from_numpy(rng.standard_normal(coarse, dtype=np.float32)).to(device)
    z, y, x = (torch.from_numpy(_spline(n, count)).to(device) for n, count in zip(shape, coarse, strict=True))
    return _along_axes(nodes, (z, y, x))


def _gaussian(length: int, sigma: float) -> np.ndarray:
    """Matrix (length, length) of a Gaussian with edges repeated."""
    radius = max(1, int(3 * sigma + 0.5))
    offsets = np.arange(-radius, radius + 1)
    taps = np.exp(-(offsets**2) / (2 * sigma * sigma))
    matrix = np.zeros((length, length), np.float32)
    rows = np.arange(length)[:, None]
    np.add.at(
        matrix, (np.broadcast_to(rows, (length, len(offsets))), np.clip(rows + offsets, 0, length - 1)), taps
    )
    matrix /= taps.sum()
    return matrix


def blur(image: Tensor, sigma: tuple[float, float, float]) -> Tensor:
    """Separable Gaussian of (D, H, W), sigma in voxels per axis, edges repeated; below 0.2 an axis is left alone."""
    z, y, x = (
        None if s < 0.2 or n < 2 else torch.from_numpy(_gaussian(n, s)).to(image.device)
        for n, s in zip(image.shape, sigma, strict=True)
    )
    return _along_axes(image, (z, y, x))


def white_noise(shape: Shape, rng: np.random.Generator, device: torch.device | str = "cpu") -> Tensor:
    """Independent unit normals, drawn on the device from a seed that rng gives."""
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    return torch.randn(shape, generator=generator, device=device)


class Grid:
    """Voxel centres of a scene. Positions and lengths are in units of the in-plane voxel, z first.

    shape: voxels. scale: the voxel's size per axis in these units, e.g. (anisotropy, 1, 1).
    """

    def __init__(
        self,
        shape: Shape,
        scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.scale, self.device = shape, scale, torch.device(device)
        self.extent = np.array(shape) * np.array(scale)
        self._axes = [
            torch.arange(n, dtype=torch.float32, device=self.device) * s
            for n, s in zip(shape, scale, strict=True)
        ]

    def window(self, low: np.ndarray, high: np.ndarray) -> Slices:
        """The voxels within physical bounds, clipped to the grid; slices may be empty."""
        starts = np.clip(np.floor(low / self.scale), 0, self.shape).astype(int)
        stops = np.clip(np.ceil(high / self.scale) + 1, starts, self.shape).astype(int)
        z, y, x = (slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))
        return z, y, x

    @property
    def all(self) -> Slices:
        """The window that is the whole grid."""
        z, y, x = (slice(0, n) for n in self.shape)
        return z, y, x

    def axes(self, where: Slices) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates z (d, 1, 1), y (1, h, 1), x (1, 1, w) of a window."""
        z, y, x = (axis[s] for axis, s in zip(self._axes, where, strict=True))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def noise(self, where: Slices, cells: float, rng: np.random.Generator) -> Tensor:
        """Smooth noise over a window, about `cells` bumps along its longest side."""
        d, h, w = (s.stop - s.start for s in where)
        return smooth_noise((d, h, w), cells, rng, self.scale, self.device)
