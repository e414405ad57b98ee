"""Long and thin shapes: winding tubes, columns along z, trees, horseshoes; see shapes."""

from __future__ import annotations

import numpy as np
import torch

from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.shapes import Patch, Rng, Vector, rotation, union


def walk(start: Vector, direction: Vector, length: float, rng: Rng, wander: float = 0.05) -> np.ndarray:
    """Points (25, 3) of a smoothly turning walk."""
    d = direction / np.linalg.norm(direction)
    turn = rng.standard_normal(3) * rng.uniform(0, 2.4 * wander)
    points = [start]
    for _ in range(24):
        turn = turn + rng.standard_normal(3) * wander
        d = d + turn
        d = d / np.linalg.norm(d)
        points.append(points[-1] + d * length / 24)
    return np.array(points)


def sweep(grid: Grid, path: np.ndarray, radius: np.ndarray | float) -> Patch:
    """Voxels within a radius of a path (n, 3); the radius may vary along it (n,)."""
    radii = np.broadcast_to(np.asarray(radius, float), (len(path),))
    step = max(0.5 * float(radii.min()), 0.7)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, along[-1], min(int(along[-1] / step) + 2, 600))
    dense = np.stack([np.interp(at, along, path[:, a]) for a in range(3)], 1)
    wide = np.interp(at, along, radii)
    scale = np.array(grid.scale)
    # A tube thinner than a voxel still hits the voxel next to each of its points.
    wide = np.maximum(wide, 0.5)
    most = float(wide.max())
    spans = [np.arange(-n, n + 1) for n in np.ceil(most / scale).astype(int)]
    offsets = np.stack(np.meshgrid(*spans, indexing="ij"), -1).reshape(-1, 3)
    nearest = np.rint(dense / scale).astype(int)
    keep = ((nearest >= -spans[0][-1]) & (nearest < np.array(grid.shape) + spans[0][-1])).all(1)
    nearest, dense, wide = nearest[keep], dense[keep], wide[keep]
    voxels = nearest[:, None] + offsets
    distance = ((voxels * scale - dense[:, None]) ** 2).sum(-1)
    hit = (distance <= wide[:, None] ** 2) | (offsets == 0).all(1)
    hit &= ((voxels >= 0) & (voxels < grid.shape)).all(-1)
    found = voxels[hit]
    if not len(found):
        return union(grid, [])
    low, high = found.min(0), found.max(0) + 1
    mask = np.zeros(high - low, bool)
    mask[tuple((found - low).T)] = True
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return Patch((z, y, x), torch.from_numpy(mask).to(grid.device))


def tube(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """A long winding tube, thin to thick."""
    length = rng.uniform(0.5, 1.4) * float(np.sort(grid.extent)[1])
    direction = rng.standard_normal(3)
    half = walk(c, direction, length / 2, rng), walk(c, -direction, length / 2, rng)
    path = np.concatenate([half[1][::-1], half[0][1:]])
    thickness = max(1.1, float(r.min()) * rng.uniform(0.15, 0.6))
    wobble = 1 + rng.uniform(0, 0.3) * np.sin(
        np.linspace(0, rng.uniform(1, 9), len(path)) + rng.uniform(0, 6)
    )
    return sweep(grid, path, thickness * wobble)


def column(
    grid: Grid, c: Vector, r: Vector, rng: Rng, path: np.ndarray | None = None, oval: float | None = None
) -> Patch:
    """A tube along z, drifting and bending, oval on each slice; it may end inside the grid unless its path is given.

    path: (D, 2) centres y, x on each slice, else drawn: see drift. r: its last two entries are the slice's radii.
    """
    depth = grid.shape[0]
    whole = path is not None
    path = drift(grid, c[1:], rng) if path is None else path
    oval = float(rng.uniform(0.7, 1.3)) if oval is None else oval
    ry = np.maximum(float(r[1]) * (1 + rng.uniform(0, 0.25) * _ripple(depth, rng)), 0.9)
    rx = ry * oval
    low, high = 0, depth
    if not whole and rng.random() < 0.4:
        low, high = sorted(int(v) for v in rng.integers(0, depth + 1, 2))
        if high - low < 3:
            low, high = 0, depth
    part = slice(low, high)
    bound = 1.25 * np.stack([ry, rx], 1) + 1
    bottom, top = (path - bound)[part].min(0), (path + bound)[part].max(0)
    _, ys, xs = grid.window(np.array([0, *bottom]), np.array([0, *top]))
    where = (part, ys, xs)
    _, y, x = grid.axes(where)
    cy, cx, ay, ax = (
        torch.from_numpy(v[part].astype(np.float32)).to(grid.device)[:, None, None]
        for v in (path[:, 0], path[:, 1], ry, rx)
    )
    value = ((y - cy) / ay).square() + ((x - cx) / ax).square()
    if float(ry.min()) > 3:  # not all cross-sections are ellipses
        cells = max(grid.extent[0], float(ry.max())) / float(ry.max()) * rng.uniform(0.6, 1.6)
        value = value + rng.uniform(0, 0.35) * grid.noise(where, float(np.clip(cells, 2, 20)), rng)
    return Patch(where, value < 1)


def _ripple(depth: int, rng: Rng) -> np.ndarray:
    """A smooth curve in -1..1."""
    out: np.ndarray = np.sin(np.linspace(0, rng.uniform(0.5, 9), depth) + rng.uniform(0, 6.3))
    return out


def drift(grid: Grid, middle: Vector, rng: Rng, amount: float | None = None) -> np.ndarray:
    """Centres (D, 2) in y, x of something long along z: a slope, a bow and a wobble."""
    amount = rng.uniform(0.0, 0.35) if amount is None else amount
    depth = grid.shape[0]
    t = np.linspace(-1, 1, depth)[:, None]
    size = amount * float(grid.extent[1:].min())
    slope, bow = rng.uniform(-1, 1, 2) * size, rng.uniform(-0.7, 0.7, 2) * size
    wobble = 0.2 * size * np.stack([_ripple(depth, rng), _ripple(depth, rng)], 1)
    out: np.ndarray = middle + t * slope * 0.6 + (t * t - 0.3) * bow + wobble
    return out


def tree(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """A trunk with branches that thin out."""
    thickness = max(1.6, float(r.min()) * rng.uniform(0.12, 0.35))
    trunk = walk(c, rng.standard_normal(3), float(r.max()) * 2, rng)
    parts = [sweep(grid, trunk, np.linspace(thickness, thickness * 0.6, len(trunk)))]
    for _ in range(int(rng.integers(2, 6))):
        branch = walk(trunk[rng.integers(0, len(trunk))], rng.standard_normal(3), float(r.max()), rng)
        parts.append(
            sweep(grid, branch, np.linspace(thickness * 0.65, max(0.8, thickness * 0.3), len(branch)))
        )
    return union(grid, parts)


def horseshoe(grid: Grid, c: Vector, r: Vector, rng: Rng, turn: float | None = None) -> Patch:
    """An arc of a tube: a mandible, a meniscus, an aortic arch; a full turn is a ring."""
    angle = rng.uniform(0.7, 1.0) * np.pi if rng.random() < 0.75 else np.pi * 1.05
    t = np.linspace(-angle, angle, 40)
    flat = np.stack([0.25 * np.cos(2 * t) * rng.uniform(-1, 1), np.cos(t), np.sin(t)], 1) * r
    path = c + flat @ rotation(rng, turn).T
    thick = max(1.2, float(r.min()) * rng.uniform(0.12, 0.35))
    return sweep(grid, path, thick * (1 + 0.3 * np.cos(t * rng.uniform(0.5, 2))))


def curl(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """A bent, tapering body with a thick head and a thin tail: hippocampus, pancreas, gut loop."""
    path = walk(np.zeros(3), rng.standard_normal(3), float(r.max()) * rng.uniform(2, 3.5), rng, 0.09)
    path = path - path.mean(0) + c
    thick = max(1.3, float(r.min()) * rng.uniform(0.35, 0.65))
    return sweep(grid, path, thick * (1 - 0.6 * np.linspace(0, 1, len(path)) ** rng.uniform(0.6, 2)))
