"""Bones: a spine with its cord, a joint with cartilage, tangled bone and air."""

from __future__ import annotations

import numpy as np

from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.organs import mass
from lexor.training.synthetic.shapes import Patch, ellipsoid, local, norm, plate
from lexor.training.synthetic.tubes import column, drift, horseshoe


def spine(c: Canvas, y: float, x: float, size: float) -> tuple[int, ...]:
    """A stack of vertebrae with discs, and behind it a ring of bone around fluid around the cord."""
    g, rng = c.grid, c.rng
    path = drift(g, c.at(0, y, x)[1:], rng, c.u(0, 0.2))
    radius = max(size * c.unit, 2.5)
    body = column(g, c.at(0, y, x), np.array([1, radius, radius]), rng, path, c.u(1.0, 1.4))
    z = g.axes(body.where)[0]
    period = radius * c.u(1.0, 1.7) * 2
    phase = (z / period + c.u(0, 1)).expand(body.mask.shape)
    between = phase.frac() < (c.u(0.1, 0.3) if c.chance(0.8) else 0)
    disc = c.paint(Patch(body.where, body.mask & between), "disc", label=c.chance(0.3))
    bones: list[int] = []
    separate = c.chance(0.6)
    ids = phase.floor()
    for level in range(int(ids.min()), int(ids.max()) + 1) if ids.numel() else ():
        part = Patch(body.where, body.mask & ~between & (ids == level))
        bones.append(c.paint(part, "marrow", like=bones[0] if bones else None, label=separate, outlined=True))
    back = path + np.array([radius * c.u(1.15, 1.35), 0])
    canal = radius * c.u(0.4, 0.6)
    middle = c.at(0, y, x)
    ring = c.paint(
        column(g, middle, np.full(3, canal + max(1.3, 0.3 * radius)), rng, back, 1.2), "bone", label=False
    )
    if c.chance(0.7):
        spike = path + np.array([radius * c.u(2.2, 2.8), 0])
        process = column(g, middle, np.array([1, radius * 0.6, radius * 0.2]), rng, spike, 0.35)
        bones.append(c.paint(process, "bone", like=ring or None, label=False))
    fluid = c.paint(column(g, middle, np.full(3, canal), rng, back, 1.2), "csf", label=False)
    cord = c.paint(column(g, middle, np.full(3, max(canal * c.u(0.45, 0.75), 1.0)), rng, back, 1.25), "cord")
    if c.chance(0.5):
        c.label(fluid, cord)
    c.label(ring, *bones)
    return tuple(i for i in (disc, ring, fluid, cord, *bones) if i)


def spine_only(c: Canvas) -> None:
    """A spine close up."""
    c.fill(str(c.rng.choice(["muscle", "fat", "soft"])))
    for _ in range(int(c.rng.integers(1, 5))):
        belly = column(c.grid, c.at(0, c.u(-0.8, 0.8), c.u(-0.8, 0.8)), c.size(1, 0.3, 0.3, 0.3), c.rng)
        c.paint(belly, str(c.rng.choice(["fat", "muscle", "air", "organ"])), label=c.chance(0.3))
    parts = spine(c, c.u(-0.4, 0.0), c.u(-0.15, 0.15), c.u(0.22, 0.4))
    if c.chance(0.4):
        mass(c, c.at(c.u(-0.5, 0.5), c.u(-0.3, 0.4), c.u(-0.2, 0.2)), c.size(0.15, 0.12, 0.12, 0.3), parts)


def joint(c: Canvas) -> None:
    """Bones that meet, cartilage on their ends, a meniscus, fluid between."""
    g, rng = c.grid, c.rng
    around = c.fill(str(rng.choice(["muscle", "fat", "soft"])))
    fluid = c.paint(ellipsoid(g, c.at(0, 0, 0), c.size(0.8, 0.5, 0.7), rng), "fluid", label=c.chance(0.4))
    for end in (-1, 1):
        place = c.at(0, end * c.u(0.5, 0.65), 0)
        where, u = local(g, place, c.size(0.9, 0.55, 0.65, 0.1), rng, 0.12, 0.2, reach=1.3)
        v = norm(u, 2.5)
        thick = c.u(1.15, 1.5)
        c.paint(Patch(where, (v < thick) & (u[1] * end < -0.2)), "cartilage", label=True)
        cortex = c.paint(Patch(where, v < 1), "bone", label=False)
        marrow = c.paint(Patch(where, v < c.u(0.7, 0.9)), "marrow", label=False)
        c.label(cortex, marrow)
        if c.chance(0.3):
            mass(c, place, c.size(0.15, 0.15, 0.15, 0.3), (marrow,))
    for _ in range(int(rng.integers(1, 3))):
        c.paint(
            horseshoe(g, c.at(0, 0, c.u(-0.3, 0.3)), np.maximum(c.size(0.3, 0.1, 0.3), 2.5), rng, 0.3), "disc"
        )
    # Where the field of view leaves the fluid out, it has no tissue.
    within = (around, fluid) if fluid else (around,)
    c.paint(plate(g, c.at(0, 0, c.u(-0.5, 0.5)), c.size(0.3, 0.3, 0.3), rng), "wall", within)


def tangle(c: Canvas, place: np.ndarray, radii: np.ndarray, within: tuple[int, ...]) -> None:
    """Thin sheets of bone around cells of air and soft tissue: a skull's base, teeth, a sponge."""
    where, u = local(c.grid, place, radii, c.rng, 0.2)
    sheets = c.grid.noise(where, c.u(4, 9), c.rng)
    inside = norm(u) < 1
    bone = c.paint(
        Patch(where, inside & (sheets.abs() < c.u(0.15, 0.4))), "bone", within, label=c.chance(0.4)
    )
    if bone and c.chance(0.7):
        c.paint(Patch(where, inside & (sheets > c.u(0.5, 1.2))), "air", within, label=c.chance(0.3))
