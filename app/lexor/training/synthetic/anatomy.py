"""Compositions: which objects a scene holds and how they nest and touch. Generic ones here, bodies in bodies.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lexor.training.synthetic import bodies, bones, organs
from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.families import any_shape
from lexor.training.synthetic.shapes import Patch, cluster, ellipsoid, local, norm, ragged, solid, split
from lexor.training.synthetic.tubes import column, sweep, tree, tube, walk

_STUFF = (
    "other",
    "other",
    "other",
    "soft",
    "muscle",
    "fat",
    "fluid",
    "bone",
    "air",
    "lesion",
    "wall",
    "blood",
)


def _background(c: Canvas) -> tuple[int, ...]:
    """One to four tissues in smooth regions, inside a body's outline or over the whole field of view."""
    kinds = [c.add(str(c.rng.choice(_STUFF))) for _ in range(int(c.rng.integers(1, 5)))]
    cells = c.u(2, 9)
    highest = c.grid.noise(c.grid.all, cells * c.u(0.7, 1.5), c.rng)
    c.tissue.fill_(kinds[0])
    for k in kinds[1:]:
        field = c.grid.noise(c.grid.all, cells * c.u(0.7, 1.5), c.rng)
        c.tissue.masked_fill_(field > highest, k)
        highest = torch.maximum(highest, field)
    if c.chance(0.45):
        radii = np.array([c.grid.extent[0] * c.u(0.6, 2.5), c.unit * c.u(0.7, 1.1), c.unit * c.u(0.7, 1.1)])
        where, u = local(c.grid, c.centre, radii, c.rng)
        body = torch.zeros_like(c.tissue)
        body[where] = torch.where(norm(u) < 1, c.tissue[where], 0)
        c.tissue = body
    return tuple(kinds)


def medley(c: Canvas) -> None:
    """Objects of every family anywhere, some split in two touching parts, some with cores."""
    kinds = _background(c)
    if c.chance(0.12):  # the background's own regions are targets
        for k in kinds:
            c.label(k)
    base = c.u(0.1, 0.35) if c.chance(0.65) else c.u(0.3, 0.7)
    depth = float(np.clip(c.grid.extent[0] / c.grid.extent[1:].min(), 0.7, 2))
    solids: tuple[int, ...] = tuple(range(1, len(c.kinds)))
    for _ in range(round(float(c.rng.integers(3, 10)) * depth)):
        size = base * 0.5 * float(c.grid.extent[1:].min()) * np.exp(c.rng.normal(0, 0.45))
        radii = np.maximum(size * np.exp(c.rng.normal(0, 0.3, 3)), 1.5)
        patch = any_shape(c.grid, c.rng.uniform(0.05, 0.95, 3) * c.grid.extent, radii, c.rng)
        parts = list(split(c.grid, patch, c.rng)) if c.chance(0.2) else [patch]
        first = 0
        for part in parts:
            equal = first if first and c.chance(0.35) else None
            new = c.paint(part, str(c.rng.choice(_STUFF)), solids, equal, False, c.chance(0.15), least=15)
            if not new:
                continue
            first = first or new
            solids = (*solids, new)
            core = 0
            if c.chance(0.18):
                spots = (c.tissue[part.where] == new).nonzero()
                spot = spots[int(c.rng.integers(len(spots)))].cpu().numpy()
                place = (spot + [s.start for s in part.where]) * np.array(c.grid.scale)
                inner = solid(c.grid, place, np.maximum(radii * c.u(0.25, 0.6), 1.5), c.rng)
                core = c.paint(inner, str(c.rng.choice(_STUFF)), (new,), least=15)
            c.label(new, core if c.chance(0.6) else 0)


def pack(c: Canvas, count: int, size: float, spread: float, reach: float, flat: float = 1.0) -> list[Patch]:
    """Touching cells: each voxel goes to the nearest of `count` deformed balls that reaches it.

    size: mean radius; reach: how far over their radius cells fill the gaps (1: separate balls where not crowded).
    """
    best = torch.full(c.grid.shape, float("inf"), device=c.grid.device)
    owner = torch.zeros(c.grid.shape, dtype=torch.int32, device=c.grid.device)
    windows = []
    for k in range(1, count + 1):
        radii = np.maximum(size * np.exp(c.rng.normal(0, spread, 3)) * np.array([flat, 1, 1]), 1.5)
        place = c.rng.uniform(0, 1, 3) * c.grid.extent
        where, u = local(c.grid, place, radii, c.rng, warp=c.u(0.05, 0.25), reach=reach)
        value = norm(u)
        nearer = (value < best[where]) & (value < reach * reach)
        best[where] = torch.where(nearer, value, best[where])
        owner[where] = torch.where(nearer, k, owner[where])
        windows.append(where)
    return [Patch(where, owner[where] == k) for k, where in enumerate(windows, 1)]


def cells(c: Canvas) -> None:
    """Touching cells with nuclei, organelles and neurites."""
    ground = c.fill("matrix")
    size = c.unit * c.u(0.12, 0.45)
    volume = float(np.prod(c.grid.extent))
    count = int(np.clip(0.9 * volume / (4.2 * size**3), 4, 45))
    outlined = c.chance(0.7)
    nuclei: list[int] = []
    first = 0
    for patch in pack(c, count, size, 0.25, float(c.rng.choice([1.0, 1.3, 1.8, 3.0])), c.u(0.5, 1)):
        cell = c.paint(
            patch, "cell", like=first if first and c.chance(0.8) else None, label=False, outlined=outlined
        )
        if not cell:
            continue
        first = first or cell
        inside = patch.mask.nonzero().float()
        place = (inside.mean(0).cpu().numpy() + [s.start for s in patch.where]) * np.array(c.grid.scale)
        radii = np.maximum(size * c.u(0.25, 0.6) * np.exp(c.rng.normal(0, 0.2, 3)), 1.3)
        like = nuclei[0] if nuclei and c.chance(0.8) else None
        nucleus = 0
        if c.chance(0.7):
            nucleus = c.paint(
                ellipsoid(c.grid, place, radii, c.rng, 0.1, None), "nucleus", (cell,), like, c.chance(0.4)
            )
        if nucleus:
            nuclei.append(nucleus)
        c.label(cell, nucleus)
    if nuclei and c.chance(0.5):
        c.label(*nuclei)
    organelles: list[int] = []
    for _ in range(int(c.rng.integers(0, 12)) if c.chance(0.5) else 0):
        place = c.rng.uniform(0, 1, 3) * c.grid.extent
        shape = ellipsoid(c.grid, place, c.size(0.05, 0.05, 0.09, 0.4), c.rng, 0.2, None)
        organelles.append(
            c.paint(shape, "organelle", like=organelles[0] if organelles else None, label=False)
        )
    c.label(*organelles)
    neurites(c, ground, int(c.rng.integers(0, 4)))


def neurites(c: Canvas, ground: int, count: int) -> None:
    """Thin winding processes through whatever is there."""
    for _ in range(count):
        start = c.rng.uniform(0.1, 0.9, 3) * c.grid.extent
        path = walk(start, c.rng.standard_normal(3), float(c.grid.extent.max()), c.rng, 0.04)
        c.paint(sweep(c.grid, path, c.u(0.9, 3.0) * np.exp(0.3 * np.sin(np.linspace(0, 15, 25)))), "neurite")


def neuron(c: Canvas) -> None:
    """A sparse field: a few cell bodies with branching neurites, or a vascular tree."""
    ground = c.fill("matrix")
    for _ in range(int(c.rng.integers(1, 4))):
        place, radii = c.rng.uniform(0.2, 0.8, 3) * c.grid.extent, c.size(0.5, 0.5, 0.5, 0.3)
        branches = c.paint(tree(c.grid, place, radii, c.rng), "neurite", label=False)
        body = c.paint(
            ellipsoid(c.grid, place, radii * 0.22, c.rng, 0.2), "neurite", like=branches or None, label=False
        )
        c.label(branches, body)
    neurites(c, ground, int(c.rng.integers(1, 5)))


def parcels(c: Canvas) -> None:
    """A parcellation: regions that touch all around, some of equal intensity, in an organ or everywhere."""
    ground = c.fill(str(c.rng.choice(["fluid", "fat", "air", "other"])))
    count = int(c.rng.integers(4, 18))
    size = 0.55 * float(np.prod(c.grid.extent)) ** (1 / 3) / count ** (1 / 3)
    regions = pack(c, count, size, 0.3, float(c.rng.choice([1.5, 2.5])))
    organ = ellipsoid(c.grid, c.centre, c.size(2, 0.8, 0.8), c.rng, 0.2)
    inside = c.paint(organ, "soft", label=False) if c.chance(0.5) else 0
    made: list[int] = []
    for patch in regions:
        like = int(c.rng.choice(made)) if made and c.chance(0.3) else None
        kind = str(c.rng.choice(["grey", "white", "muscle", "soft", "other"]))
        new = c.paint(patch, kind, (inside,) if inside else (ground,), like, outlined=c.chance(0.3))
        made += [new] if new else []


def lesions(c: Canvas) -> None:
    """An organ full of lesions that are one label together, or each its own."""
    kinds = _background(c)
    organ = c.paint(
        ellipsoid(c.grid, c.at(0, 0, 0), c.size(0.8, 0.6, 0.6), c.rng, 0.15, None), "soft", label=False
    )
    found: list[int] = []
    home = (organ,) if organ else kinds
    for _ in range(int(c.rng.integers(2, 7))):
        spot = cluster(
            c.grid, c.at(c.u(-0.6, 0.6), c.u(-0.5, 0.5), c.u(-0.5, 0.5)), c.size(0.25, 0.25, 0.25), c.rng
        )
        found.append(
            c.paint(spot, "lesion", home, found[0] if found and c.chance(0.7) else None, False, least=4)
        )
    if c.chance(0.6):
        place = c.at(c.u(-0.4, 0.4), c.u(-0.4, 0.4), c.u(-0.4, 0.4))
        single = c.paint(ragged(c.grid, place, c.size(0.2, 0.2, 0.2, 0.3), c.rng), "lesion", home)
        found += [single]
    c.label(*found)
    c.label(organ, *found)


def vessels(c: Canvas) -> None:
    """Trees and tubes in an organ; a bulge on one of them."""
    kinds = _background(c)
    for _ in range(int(c.rng.integers(1, 4))):
        place, radii = c.at(c.u(-0.5, 0.5), c.u(-0.4, 0.4), c.u(-0.4, 0.4)), c.size(0.6, 0.6, 0.6, 0.3)
        trunk = c.paint(tree(c.grid, place, radii, c.rng), "blood", kinds, label=False)
        bulge = 0
        if c.chance(0.3):
            bulge = c.paint(ellipsoid(c.grid, place, radii * 0.2, c.rng, 0.2), "blood", like=trunk or None)
        c.label(trunk, bulge)
    for _ in range(int(c.rng.integers(1, 4))):
        place, radii = c.at(0, c.u(-0.6, 0.6), c.u(-0.6, 0.6)), c.size(0.2, 0.1, 0.1, 0.5)
        family = column if c.chance(0.6) else tube
        outer = c.paint(
            family(c.grid, place, radii, c.rng), str(c.rng.choice(["blood", "wall", "fluid"])), label=False
        )
        c.label(outer)


def clutter(c: Canvas) -> None:
    """Fills what belongs to no target with strands and distractors, some of a target's own intensity."""
    labelled = [i for target in c.targets for i in target]
    ground = tuple(i for i in range(1, len(c.kinds)) if i not in labelled)
    if not ground:
        return
    for _ in range(int(c.rng.choice(3, p=[0.4, 0.4, 0.2]))):
        sheets = c.grid.noise(c.grid.all, c.u(6, 24), c.rng).abs() < c.u(0.03, 0.15)
        c.paint(
            Patch(c.grid.all, sheets),
            str(c.rng.choice(["fat", "wall", "muscle", "fluid"])),
            ground,
            label=False,
        )
    for _ in range(int(c.rng.integers(0, 9))):
        size = c.u(0.04, 0.2) if c.chance(0.8) else c.u(0.2, 0.4)
        patch = any_shape(
            c.grid, c.rng.uniform(0, 1, 3) * c.grid.extent, c.size(size, size, size, 0.3), c.rng
        )
        like = int(c.rng.choice(labelled)) if labelled and c.chance(0.5) else None
        c.paint(patch, str(c.rng.choice(_STUFF)), ground, like, label=False)


Composition = Callable[[Canvas], None]
# Share of each composition per style.
COMPOSITIONS: dict[Composition, dict[str, float]] = {
    medley: {"CT": 0.26, "MR": 0.24, "PET": 0.25, "US": 0.35, "Microscopy": 0.25},
    bodies.trunk: {"CT": 0.22, "MR": 0.10, "PET": 0.08, "US": 0.03},
    bodies.neck: {"CT": 0.14, "MR": 0.06, "PET": 0.04},
    bodies.limb: {"CT": 0.10, "MR": 0.10, "PET": 0.18},
    bodies.hot_spots: {"PET": 0.30},
    bones.spine_only: {"CT": 0.06, "MR": 0.08},
    bones.joint: {"CT": 0.04, "MR": 0.06, "US": 0.02},
    organs.brain: {"CT": 0.04, "MR": 0.12, "PET": 0.04},
    organs.heart: {"CT": 0.05, "MR": 0.05, "PET": 0.02, "US": 0.16},
    organs.gland: {"CT": 0.01, "MR": 0.04, "US": 0.26},
    organs.hippocampus: {"MR": 0.07, "CT": 0.01, "US": 0.01},
    lesions: {"CT": 0.04, "MR": 0.04, "PET": 0.06, "US": 0.08},
    vessels: {"CT": 0.02, "MR": 0.02, "US": 0.06, "Microscopy": 0.08},
    parcels: {"CT": 0.01, "MR": 0.02, "PET": 0.03, "US": 0.03, "Microscopy": 0.05},
    cells: {"Microscopy": 0.47},
    neuron: {"Microscopy": 0.15},
}


def draw_composition(style: str, rng: np.random.Generator) -> Composition:
    """A composition as often as it fits the style; one in twenty times one of another style's."""
    names = list(COMPOSITIONS)
    weights = np.array([COMPOSITIONS[name].get(style, 0.0) for name in names]) + 0.003
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
