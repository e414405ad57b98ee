"""Families of shapes, each computed only in the region that it may reach.

A family is a function (grid, centre, radii, rng) -> Patch, centre and radii (3,) in the grid's units. A patch may be
cut off by the grid, and is empty where the shape lies outside of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lexor.training.synthetic.fields import Grid, Slices

Rng = np.random.Generator
Vector = np.ndarray


@dataclass(frozen=True)
class Patch:
    """A boolean mask of a window of the grid."""

    where: Slices
    mask: Tensor

    def count(self) -> int:
        """Number of voxels."""
        return int(self.mask.sum())

    def full(self, grid: Grid) -> Tensor:
        """The mask over the whole grid."""
        out = torch.zeros(grid.shape, dtype=torch.bool, device=grid.device)
        out[self.where] = self.mask
        return out


def union(grid: Grid, patches: list[Patch]) -> Patch:
    """All voxels of some patches."""
    filled = [p for p in patches if p.mask.numel()]
    if not filled:
        return Patch((slice(0, 0),) * 3, torch.zeros((0, 0, 0), dtype=torch.bool, device=grid.device))
    low = [min(p.where[a].start for p in filled) for a in range(3)]
    high = [max(p.where[a].stop for p in filled) for a in range(3)]
    mask = torch.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=torch.bool, device=grid.device)
    for p in filled:
        mask[tuple(slice(s.start - a, s.stop - a) for s, a in zip(p.where, low, strict=True))] |= p.mask
    return Patch((slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), mask)


def rotation(rng: Rng, turn: float | None = None) -> np.ndarray:
    """A random rotation (3, 3); about `turn` radians from none if given."""
    if turn is None:
        q, r = np.linalg.qr(rng.standard_normal((3, 3)))
        out: np.ndarray = q * np.sign(np.diag(r))
        return out
    x, y, z = rng.standard_normal(3) * turn / np.sqrt(3)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    q, _ = np.linalg.qr(np.eye(3) + skew)
    return q * np.sign(np.diag(q))


def local(
    grid: Grid,
    centre: Vector,
    radii: Vector,
    rng: Rng,
    warp: float | None = None,
    turn: float | None = None,
    reach: float = 1.0,
) -> tuple[Slices, tuple[Tensor, Tensor, Tensor]]:
    """A window and its coordinates in a rotated, warped frame in which the shape is the unit ball.

    warp: displacement in radii; drawn when None. turn: see rotation. reach: how far out, in radii, is wanted.
    """
    warp = (rng.uniform(0.05, 0.3) if rng.random() < 0.8 else 0.0) if warp is None else warp
    axes = rotation(rng, turn)
    bound = np.sqrt(((axes * radii) ** 2).sum(1)) * (1 + 1.8 * warp) * reach + 1
    where = grid.window(centre - bound, centre + bound)
    z, y, x = grid.axes(where)
    steps = (axes / radii).astype(np.float32)
    cells = rng.uniform(1.5, 4.5)
    u: list[Tensor] = []
    for k in range(3):
        a, b, c = (float(v) for v in steps[:, k])
        part = (z - centre[0]) * a + (y - centre[1]) * b + (x - centre[2]) * c
        u.append(part + warp * grid.noise(where, cells, rng) if warp else part)
    return where, (u[0], u[1], u[2])


def norm(u: tuple[Tensor, Tensor, Tensor], power: float = 2.0) -> Tensor:
    """Sum of powers: below 1 inside the unit (super)ball."""
    if power == 2.0:
        return u[0] * u[0] + u[1] * u[1] + u[2] * u[2]
    return u[0].abs().pow(power) + u[1].abs().pow(power) + u[2].abs().pow(power)


def ellipsoid(
    grid: Grid, centre: Vector, radii: Vector, rng: Rng, warp: float = 0.1, turn: float | None = 0.2
) -> Patch:
    """A smooth, slightly deformed ellipsoid."""
    where, u = local(grid, centre, radii, rng, warp, turn)
    return Patch(where, norm(u) < 1)


def solid(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Deformed superquadric, from diamond to nearly a box."""
    power = float(rng.choice([2.0, 2.0, 2.0, 1.4, 3.0, 5.0]))
    where, u = local(grid, c, r, rng, reach=1.0 if power <= 2 else 1.35)
    return Patch(where, norm(u, power) < 1)


def blob(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Bumpy ball."""
    where, u = local(grid, c, r, rng)
    return Patch(where, norm(u) + rng.uniform(0.2, 0.6) * grid.noise(where, rng.uniform(3, 7), rng) < 0.8)


def ragged(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Infiltrative border: fingers and islands of fine noise."""
    where, u = local(grid, c, r, rng, reach=1.2)
    fine = grid.noise(where, float(np.clip(r.max() * rng.uniform(0.3, 0.8), 5, 24)), rng)
    return Patch(where, norm(u) + rng.uniform(0.25, 0.7) * fine < 0.9)


def lobes(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Union of a few overlapping lobes."""
    parts = [solid(grid, c, r * 0.7, rng)]
    for _ in range(int(rng.integers(1, 4))):
        parts.append(solid(grid, c + rng.uniform(-0.7, 0.7, 3) * r, r * rng.uniform(0.35, 0.7), rng))
    return union(grid, parts)


def crescent(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """A ball less a shifted ball."""
    where, u = local(grid, c, r, rng)
    shift = rng.standard_normal(3)
    shift *= rng.uniform(0.5, 0.9) / np.linalg.norm(shift)
    size = rng.uniform(0.7, 1.0)
    v = (u[0] - float(shift[0])) / size, (u[1] - float(shift[1])) / size, (u[2] - float(shift[2])) / size
    return Patch(where, (norm(u) < 1) & (norm(v) > 1))


def bean(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Kidney: an ellipsoid bent about its hollow side."""
    r = np.array([1.0, 0.55, 0.6]) * float(r.mean()) * rng.uniform(0.8, 1.2, 3)
    where, (a, b, d) = local(grid, c, r, rng, warp=rng.uniform(0, 0.12), reach=1.3)
    b = b + rng.uniform(0.4, 1.0) * (a * a - 0.3)
    dent = (a * a * 4 + (b - 0.9).square() * 3 + d * d * 2) < rng.uniform(0.3, 0.9)
    return Patch(where, (norm((a, b, d)) < 1) & ~dent)


def shell(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """A closed or open thin wall; about two voxels at the least."""
    r = np.maximum(r, 4.0)
    where, u = local(grid, c, r, rng)
    radius = norm(u).sqrt()
    thickness = max(rng.uniform(0.08, 0.35), 1.8 / float(r.min()))
    mask = (radius < 1) & (radius > 1 - thickness)
    return Patch(where, mask & (u[0] < rng.uniform(-0.2, 0.5)) if rng.random() < 0.45 else mask)


def plate(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Flat and bent, like cartilage or a scapula."""
    flat = r * np.array([1.0, 1.0, rng.uniform(0.1, 0.3)])
    flat[2] = max(flat[2], 1.3 * max(1.0, 0.6 * max(grid.scale)))
    where, (a, b, d) = local(grid, c, flat, rng, reach=1.5)
    bend = rng.uniform(-1, 1) * min(float(r.mean() / flat[2]), 2.5)
    return Patch(where, norm((a, b, d + bend * (a * a - 0.25))) < 1)


def cluster(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """Scattered small lesions, one label."""
    parts = []
    for _ in range(int(rng.integers(4, 16))):
        size = np.maximum(float(r.mean()) * rng.uniform(0.1, 0.3) * rng.uniform(0.7, 1.4, 3), 1.2)
        centre = np.clip(c + rng.uniform(-1.3, 1.3, 3) * r, 0, grid.extent - 1)
        parts.append(ellipsoid(grid, centre, size, rng, 0.15, None))
    return union(grid, parts)


def split(
    grid: Grid, patch: Patch, rng: Rng, normal: Vector | None = None, warp: float = 0.3
) -> tuple[Patch, Patch]:
    """Two touching parts of a patch, cut by a warped plane through it."""
    if not patch.count():
        return patch, patch
    direction = rng.standard_normal(3) if normal is None else normal
    direction = direction / np.linalg.norm(direction)
    z, y, x = grid.axes(patch.where)
    height = z * float(direction[0]) + y * float(direction[1]) + x * float(direction[2])
    if warp:
        height = height + warp * 0.5 * float(height[patch.mask].std(correction=0)) * grid.noise(
            patch.where, 4, rng
        )
    inside = height[patch.mask]
    cut = torch.quantile(inside[:: max(1, len(inside) // 4096)], float(rng.uniform(0.25, 0.75)))
    one = patch.mask & (height < cut)
    return Patch(patch.where, one), Patch(patch.where, patch.mask & ~one)
