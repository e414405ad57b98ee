"""Synthetic volumes with labels: random anatomy, random contrast, the look of five modalities.

Shapes are drawn from families that real targets come from (organs, lesions, tubes, shells, parcellations);
nothing here models a particular organ. Everything is numpy and torch on the CPU, seeded by one generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, int, int]
STYLES = ("CT", "MR", "PET", "US", "Microscopy")


@dataclass(frozen=True)
class Scene:
    """A synthetic volume: uint8 image, and one boolean mask per target. Targets may overlap (nested ones do)."""

    image: np.ndarray
    targets: tuple[np.ndarray, ...]
    style: str


def smooth_noise(shape: Shape, cells: float, rng: np.random.Generator) -> Tensor:
    """A smooth random field of about unit variance, with about `cells` bumps along the longest axis."""
    longest = max(shape)
    coarse = tuple(max(2, round(n / longest * cells) + 1) for n in shape)
    field = torch.from_numpy(rng.standard_normal((1, 1, *coarse), dtype=np.float32))
    out = F.interpolate(field, size=shape, mode="trilinear", align_corners=True)[0, 0]
    # Interpolation between nodes shrinks the variance.
    return out * 1.5


def blur(image: Tensor, sigma: tuple[float, float, float]) -> Tensor:
    """Separable Gaussian, edges repeated."""
    x = image[None, None]
    for axis, s in enumerate(sigma):
        if s < 0.2:
            continue
        radius = min(int(3 * s + 0.5), image.shape[axis] - 1)
        if radius < 1:
            continue
        tap = torch.exp(-torch.arange(-radius, radius + 1).float().square() / (2 * s * s))
        kernel_shape = [1, 1, 1, 1, 1]
        kernel_shape[axis + 2] = len(tap)
        pad = [0] * 6
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = radius
        x = F.conv3d(F.pad(x, pad, mode="replicate"), (tap / tap.sum()).view(kernel_shape))
    return x[0, 0]


class _Grid:
    """Coordinates of a scene, in units of its in-plane voxel, z stretched by the anisotropy."""

    def __init__(self, shape: Shape, anisotropy: float) -> None:
        self.shape = shape
        self.scale = np.array([anisotropy, 1.0, 1.0])
        axes = [torch.arange(n, dtype=torch.float32) * s for n, s in zip(shape, self.scale, strict=True)]
        self.points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        self.extent = np.array(shape) * self.scale


def _rotation(rng: np.random.Generator) -> Tensor:
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return torch.from_numpy(q.astype(np.float32))


def _local(grid: _Grid, centre: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Coordinates in a rotated, warped frame in which the shape is the unit ball."""
    offset = grid.points - torch.from_numpy(centre.astype(np.float32))
    if rng.random() < 0.8:
        amplitude = rng.uniform(0.05, 0.35) * float(radii.min())
        cells = float(np.clip(rng.uniform(0.7, 2.0) * max(grid.extent) / radii.max(), 2, 16))
        warp = torch.stack([smooth_noise(grid.shape, cells, rng) for _ in range(3)], -1)
        offset = offset + amplitude * warp
    return (offset @ _rotation(rng)) / torch.from_numpy(radii.astype(np.float32))


def _ball(u: Tensor, power: float = 2.0) -> Tensor:
    return (u.square().sum(-1) if power == 2.0 else u.abs().pow(power).sum(-1)) < 1


def _solid(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    return _ball(_local(grid, c, r, rng), float(rng.choice([2.0, 2.0, 2.0, 1.4, 3.0, 5.0])))


def _blob(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    u = _local(grid, c, r, rng)
    cells = float(np.clip(1.5 * max(grid.extent) / r.max(), 3, 24))
    return u.square().sum(-1) + rng.uniform(0.3, 0.8) * smooth_noise(grid.shape, cells, rng) < 0.8


def _lobes(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    mask = _solid(grid, c, r * 0.7, rng)
    for _ in range(int(rng.integers(1, 4))):
        mask |= _solid(grid, c + rng.uniform(-0.7, 0.7, 3) * r, r * rng.uniform(0.35, 0.7), rng)
    return mask


def _crescent(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    u = _local(grid, c, r, rng)
    shift = rng.standard_normal(3).astype(np.float32)
    shift *= rng.uniform(0.4, 0.9) / np.linalg.norm(shift)
    return _ball(u) & ~_ball((u - torch.from_numpy(shift)) / rng.uniform(0.7, 1.0))


def _shell(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    u = _local(grid, c, r, rng)
    radius = u.square().sum(-1).sqrt()
    thickness = max(rng.uniform(0.1, 0.4), 1.6 / float(r.min()))
    mask = (radius < 1) & (radius > 1 - thickness)
    return mask & (u[..., 0] < 0.2) if rng.random() < 0.4 else mask


def _plate(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    r = r.copy()
    r[rng.integers(3)] *= rng.uniform(0.15, 0.35)
    return _solid(grid, c, np.maximum(r, 1.2), rng)


def _cluster(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    for _ in range(int(rng.integers(3, 9))):
        centre = torch.from_numpy((c + rng.uniform(-1, 1, 3) * r).astype(np.float32))
        size = max(1.3, float(r.mean()) * rng.uniform(0.12, 0.35))
        mask |= (grid.points - centre).square().sum(-1) < size**2
    return mask


def _path(
    grid: _Grid, start: np.ndarray, direction: np.ndarray, length: float, rng: np.random.Generator
) -> np.ndarray:
    """Points of a smoothly turning walk."""
    steps = 24
    d = direction / np.linalg.norm(direction)
    turn = rng.standard_normal(3) * rng.uniform(0, 0.12)
    points = [start]
    for _ in range(steps):
        turn = turn + rng.standard_normal(3) * 0.05
        d = d + turn
        d /= np.linalg.norm(d)
        points.append(points[-1] + d * length / steps)
    return np.array(points)


def _sweep(grid: _Grid, path: np.ndarray, radius: np.ndarray) -> Tensor:
    """Voxels within a varying radius of a path, tested slice by slice of the path's points."""
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    fine = np.linspace(0, len(path) - 1, 3 * len(path))
    index = np.arange(len(path))
    dense = np.stack([np.interp(fine, index, path[:, a]) for a in range(3)], 1)
    radii = np.interp(fine, index, radius)
    for point, r in zip(dense, radii, strict=True):
        low = np.maximum(np.floor((point - r) / grid.scale).astype(int), 0)
        high = np.minimum(np.ceil((point + r) / grid.scale).astype(int) + 1, grid.shape)
        if (high <= low).any():
            continue
        where = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        distance = (grid.points[where] - torch.from_numpy(point.astype(np.float32))).square().sum(-1)
        mask[where] |= distance < r * r
    return mask


def _tube(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    length = rng.uniform(0.5, 1.4) * float(grid.extent.max())
    direction = rng.standard_normal(3)
    if rng.random() < 0.6:  # most long organs run along the body
        direction *= np.array([4.0, 1.0, 1.0])
    half = _path(grid, c, direction, length / 2, rng), _path(grid, c, -direction, length / 2, rng)
    path = np.concatenate([half[1][::-1], half[0][1:]])
    thickness = max(1.5, float(r.min()) * rng.uniform(0.25, 0.7))
    wobble = 1 + 0.25 * np.sin(np.linspace(0, rng.uniform(1, 9), len(path)) + rng.uniform(0, 6))
    return _sweep(grid, path, thickness * wobble)


def _tree(grid: _Grid, c: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> Tensor:
    thickness = max(1.8, float(r.min()) * rng.uniform(0.2, 0.45))
    trunk = _path(grid, c, rng.standard_normal(3), float(r.max()) * 2, rng)
    mask = _sweep(grid, trunk, np.linspace(thickness, thickness * 0.7, len(trunk)))
    for _ in range(int(rng.integers(2, 5))):
        start = trunk[rng.integers(4, len(trunk))]
        branch = _path(grid, start, rng.standard_normal(3), float(r.max()) * rng.uniform(0.6, 1.4), rng)
        mask |= _sweep(grid, branch, np.linspace(thickness * 0.7, max(1.1, thickness * 0.4), len(branch)))
    return mask


_Maker = Callable[[_Grid, np.ndarray, np.ndarray, np.random.Generator], Tensor]
_FAMILIES: tuple[tuple[_Maker, float], ...] = (
    (_solid, 0.30),
    (_blob, 0.14),
    (_lobes, 0.12),
    (_tube, 0.14),
    (_crescent, 0.07),
    (_shell, 0.07),
    (_plate, 0.05),
    (_cluster, 0.05),
    (_tree, 0.06),
)


def _split(mask: Tensor, grid: _Grid, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two touching parts of a mask, cut by a warped plane through it."""
    points = grid.points[mask]
    normal = torch.from_numpy(rng.standard_normal(3).astype(np.float32))
    warp = smooth_noise(grid.shape, 5, rng)[mask] * float(points.std()) * 0.3
    height = (points * (normal / normal.norm())).sum(-1) + warp
    cut = float(torch.quantile(height[:: max(1, len(height) // 4096)], float(rng.uniform(0.25, 0.75))))
    one = torch.zeros_like(mask)
    one[mask] = height < cut
    return one, mask & ~one


def _anatomy(grid: _Grid, rng: np.random.Generator) -> tuple[Tensor, list[Tensor], Tensor]:
    """Tissue index per voxel (int), the targets' masks, and the body's outline."""
    shape = grid.shape
    centre = grid.extent / 2 + rng.uniform(-0.15, 0.15, 3) * grid.extent
    if rng.random() < 0.45:
        body = torch.ones(shape, dtype=torch.bool)  # a field of view inside the body
    else:
        radii = grid.extent * np.array(
            [rng.uniform(0.6, 2.5), rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.6)]
        )
        body = _local(grid, centre, radii, rng).square().sum(-1) < 1
    kinds = int(rng.integers(1, 5))
    cells = rng.uniform(2, 9)
    fields = torch.stack([smooth_noise(shape, cells * rng.uniform(0.7, 1.5), rng) for _ in range(kinds)])
    tissue = torch.where(body, fields.argmax(0) + 1, 0)
    targets: list[Tensor] = []
    following = kinds + 1
    if rng.random() < 0.12:  # parcellation: the background's own regions are targets
        for k in range(1, kinds + 1):
            targets.append(tissue == k)
    weights = np.array([w for _, w in _FAMILIES])
    base = rng.uniform(0.05, 0.2) if rng.random() < 0.6 else rng.uniform(0.15, 0.4)
    for _ in range(int(rng.integers(3, 10))):
        make = _FAMILIES[rng.choice(len(_FAMILIES), p=weights / weights.sum())][0]
        size = base * np.exp(rng.normal(0, 0.45)) * float(np.sort(grid.extent)[1])
        radii = np.maximum(size * np.exp(rng.normal(0, 0.3, 3)), 1.5)
        place = rng.uniform(0.08, 0.92, 3) * grid.extent
        mask = make(grid, place, radii, rng) & body
        if int(mask.sum()) < 20:
            continue
        parts = list(_split(mask, grid, rng)) if rng.random() < 0.2 else [mask]
        for part in parts:
            if int(part.sum()) < 20:
                continue
            targets = [t & ~part if rng.random() < 0.85 else t for t in targets]
            tissue = torch.where(part, following, tissue)
            following += 1
            targets.append(part)
            if rng.random() < 0.15:  # a core or lesion inside, itself a target; the outer keeps it or not
                where = part.nonzero()[int(rng.integers(int(part.sum())))].numpy() * grid.scale
                core = _solid(grid, where, np.maximum(radii * rng.uniform(0.25, 0.6), 1.5), rng) & part
                if int(core.sum()) >= 15:
                    tissue = torch.where(core, following, tissue)
                    following += 1
                    if rng.random() < 0.5:
                        targets[-1] = part & ~core
                    targets.append(core)
    return tissue, targets, body


def _render(tissue: Tensor, body: Tensor, style: str, rng: np.random.Generator) -> Tensor:
    """Intensities of a tissue map, arbitrary units, in the look of a modality."""
    shape: Shape = (tissue.shape[0], tissue.shape[1], tissue.shape[2])
    count = int(tissue.max()) + 1
    means = rng.uniform(0, 1, count).astype(np.float32)
    if style == "CT":  # soft tissues crowd a narrow range, with bone and air at its ends
        means = np.clip(rng.normal(0.5, rng.uniform(0.08, 0.22), count), 0, 1).astype(np.float32)
        means[rng.random(count) < 0.12] = 1.0
        means[rng.random(count) < 0.08] = 0.0
    if style == "PET":
        means = (rng.uniform(0, 0.25, count) + (rng.random(count) < 0.4) * rng.uniform(0.3, 1, count)).astype(
            np.float32
        )
    means[0] = 0.0 if rng.random() < 0.8 else rng.uniform(0, 1)
    image = torch.from_numpy(means)[tissue]
    if style in ("MR", "US", "Microscopy") or rng.random() < 0.3:
        texture = smooth_noise(shape, rng.uniform(6, 30), rng)
        strength = torch.from_numpy(rng.uniform(0, 0.12, count).astype(np.float32))[tissue]
        image = image + strength * texture
    image = blur(image, (rng.uniform(0, 1.0), *(rng.uniform(0.2, 1.2, 1).repeat(2))))
    if style == "PET":
        s = rng.uniform(0.8, 2.5)
        image = blur(image, (s * 0.8, s, s))
    if style == "MR":
        image = image * torch.exp(rng.uniform(0, 0.35) * smooth_noise(shape, rng.uniform(1.5, 3), rng))
    if style == "Microscopy" and rng.random() < 0.6:
        gradient = sum(g.abs() for g in torch.gradient(image))
        image = rng.uniform(-0.3, 1) * image + rng.uniform(1, 3) * torch.as_tensor(gradient)
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    sigma = rng.uniform(0.005, 0.08) if style != "PET" else rng.uniform(0.005, 0.05)
    if rng.random() < 0.6:  # reconstructed noise is correlated
        s = rng.uniform(0.4, 1.1)
        noise = blur(noise, (s * rng.uniform(0, 1), s, s))
        noise = noise / noise.std()
    if style == "US":
        s = rng.uniform(0.5, 1.6)
        real = blur(noise, (rng.uniform(0.3, 1), s, s * rng.uniform(0.5, 1.5)))
        other = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        speckle = (real.square() + blur(other, (0.5, s, s)).square()).sqrt()
        speckle = speckle / speckle.mean()
        image = image.clamp(min=0.02) * speckle.pow(rng.uniform(0.3, 1.0))
        depth = torch.linspace(0, 1, shape[1])[None, :, None]
        image = image * torch.exp(-rng.uniform(0, 1.5) * depth)
        if rng.random() < 0.5:  # acoustic shadows fall along the beam
            lateral = smooth_noise((1, 1, shape[2]), 6, rng)
            image = image * (1 - 0.8 * torch.sigmoid(6 * (lateral - 1)) * (depth > rng.uniform(0.1, 0.6)))
        if rng.random() < 0.5:
            y = torch.linspace(0.05, 1, shape[1])[None, :, None]
            x = torch.linspace(-1, 1, shape[2])[None, None, :].abs()
            image = image * ((x < y * rng.uniform(0.8, 1.6)) & ((x.square() + y.square()) < 1.3))
        image = torch.log1p(image.clamp(min=0) * rng.uniform(2, 20))
    elif style == "MR" and rng.random() < 0.5:  # magnitude images: Rician noise
        image = ((image + sigma * noise).square() + (sigma * torch.roll(noise, 7, 2)).square()).sqrt()
    else:
        image = image + sigma * noise
    if style == "CT":
        image = image.where(body, image * rng.uniform(0, 0.3)) if rng.random() < 0.8 else image
    return image


def _contrast(image: Tensor, mask: Tensor) -> float:
    """Difference of the means inside and in the rim around, in units of the rim's spread."""
    grown = F.max_pool3d(mask[None, None].float(), 5, 1, 2)[0, 0] > 0
    rim = grown & ~mask
    if not bool(rim.any()):
        return 0.0
    inside, outside = image[mask], image[rim]
    return float(
        (inside.mean() - outside.mean()).abs() / (outside.std(correction=0) + inside.std(correction=0) + 1e-4)
    )


def make_scene(rng: np.random.Generator, shape: Shape | None = None, style: str | None = None) -> Scene:
    """One random volume with its targets.

    Args:
        rng: the only source of randomness.
        shape: (D, H, W); drawn when None.
        style: one of STYLES; drawn when None.
    """
    if shape is None:
        in_plane = rng.integers(64, 116, 2)
        shape = (int(rng.integers(20, 60)), int(in_plane[0]), int(in_plane[1]))
    style = style or str(rng.choice(STYLES, p=[0.3, 0.27, 0.13, 0.2, 0.1]))
    while True:
        grid = _Grid(shape, float(rng.choice([1.0, 1.0, 1.5, 2.5, 4.0])))
        tissue, masks, body = _anatomy(grid, rng)
        image = _render(tissue, body, style, rng)
        if rng.random() < 0.12:
            image = -image
        low, high = np.quantile(image.numpy()[::2, ::2, ::2], [0.005, 0.995])
        if high - low < 1e-3:
            continue
        image = ((image - float(low)) / float(high - low)).clamp(0, 1)
        if rng.random() < 0.4:
            image = image.pow(float(np.exp(rng.normal(0, 0.35))))
        # A target nobody could see teaches only to trust the box; some of those are wanted, most are not.
        targets = tuple(
            m.numpy()
            for m in masks
            if 20 <= int(m.sum()) <= 0.5 * m.numel()
            and (_contrast(image, m) > rng.uniform(0.25, 0.6) or rng.random() < 0.15)
        )
        if targets:
            return Scene((image * 255).round().to(torch.uint8).numpy(), targets, style)
