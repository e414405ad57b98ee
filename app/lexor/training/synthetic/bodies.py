"""Cross-sections of a body: trunk, neck, limb, spine, joint, whole-body hot spots."""

from __future__ import annotations

import numpy as np
import torch

from lexor.training.synthetic.bones import spine, tangle
from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.organs import mass
from lexor.training.synthetic.shapes import (
    Patch,
    bean,
    blob,
    cluster,
    ellipsoid,
    lobes,
    local,
    norm,
    plate,
    solid,
    split,
)
from lexor.training.synthetic.tubes import column, curl, drift, horseshoe, tree


def _outline(c: Canvas, ry: float, rx: float, fat: float) -> tuple[int, int, Patch]:
    """Skin to wall: a rim of fat around muscle. Returns both tissues and the region inside the wall."""
    where, u = local(
        c.grid, c.centre, np.array([9e3, c.unit * ry, c.unit * rx]), c.rng, 0.04, 0.0, reach=1.05
    )
    v = norm((u[0] * 0, u[1], u[2]), c.u(1.8, 2.8)) ** 0.5
    skin = c.paint(Patch(where, v < 1), "fat", label=False)
    wall = c.paint(Patch(where, v < 1 - fat), "muscle", label=False, outlined=c.chance(0.3))
    return skin, wall, Patch(where, v < 1 - fat - c.u(0.08, 0.2))


def _pair(c: Canvas, y: float, x: float, radius: float, kind: str) -> None:
    """Two tubes along z left and right: carotids, jugulars, ureters."""
    like: int | None = None
    for side in (-1, 1):
        shape = column(c.grid, c.at(0, y, side * x), c.size(1, radius, radius), c.rng)
        like = c.paint(shape, kind, like=like, label=c.chance(0.6)) or like


def _lungs(c: Canvas, inside: tuple[int, ...]) -> None:
    g, rng = c.grid, c.rng
    size, deep = c.u(0.3, 0.42), max(0.4 * float(g.extent[0]) / c.unit, 0.4) * c.u(0.7, 2)
    both: list[int] = []
    for side in (-1, 1):
        place = c.at(c.u(-0.3, 0.3), -0.05, side * c.u(0.4, 0.5))
        where, u = local(g, place, c.size(deep, 1.25 * size, size, 0.1), rng, 0.12, 0.15)
        lung = c.paint(
            Patch(where, norm(u, 2.4) < 1), "lung", inside, both[0] if both and both[0] else None, False
        )
        if not lung:
            continue
        vessels = [
            c.paint(tree(g, place, c.size(0.4, 0.4, 0.3), rng), "vessel", (lung,), label=False)
            for _ in range(2)
        ]
        parts = [lung, *vessels]
        for _ in range(int(rng.integers(0, 3))):
            spot = place + rng.uniform(-0.6, 0.6, 3) * size * c.unit
            parts += mass(c, spot, c.size(0.07, 0.07, 0.07, 0.5), (lung,))
        if c.chance(0.3):
            c.label(*vessels)
        if c.chance(0.6):
            c.label(*parts)
        both += parts
    if c.chance(0.4):
        c.label(*both)


def _belly(c: Canvas, inside: tuple[int, ...]) -> None:
    """Liver, spleen, kidneys, stomach, pancreas, gut, in any number."""
    g, rng = c.grid, c.rng
    flip = 1 if c.chance(0.8) else -1
    for _ in range(int(rng.integers(2, 7))):  # gut loops first: everything else lies over them
        loop = curl(g, c.at(c.u(-1, 1), c.u(-0.5, 0.2), c.u(-0.6, 0.6)), c.size(0.2, 0.2, 0.2, 0.3), rng)
        wall = c.paint(loop, "wall", inside, label=False)
        lumen = (
            c.paint(loop, str(rng.choice(["air", "fluid", "soft"])), (wall,), label=False)
            if c.chance(0.5)
            else 0
        )
        c.label(wall, lumen)
    whole: list[int] = []
    liver = lobes(g, c.at(c.u(-0.5, 0.5), -0.05, -0.4 * flip), c.size(0.6, 0.5, 0.55), rng)
    whole.append(c.paint(liver, "organ", inside, label=False))
    if whole[0]:
        place = c.at(c.u(-0.5, 0.5), -0.05, -0.4 * flip)
        if c.chance(0.6):
            whole.append(
                c.paint(
                    tree(g, place, c.size(0.4, 0.4, 0.4), rng), "vessel", (whole[0],), label=c.chance(0.4)
                )
            )
        for _ in range(int(rng.integers(0, 3))):
            spot = c.at(c.u(-0.7, 0.7), c.u(-0.3, 0.3), -flip * c.u(0.2, 0.6))
            whole += mass(c, spot, c.size(0.1, 0.1, 0.1, 0.5), (whole[0],))
        c.label(*whole)
    kidney_like: int | None = None
    for side in (-1, 1):
        place = c.at(c.u(-0.6, 0.6), 0.2, side * 0.45)
        outer = c.paint(bean(g, place, c.size(0.2, 0.2, 0.2), rng), "organ", inside, kidney_like, label=False)
        if outer:
            kidney_like = outer
            pelvis = ellipsoid(g, place, c.size(0.14, 0.08, 0.08), rng)
            core = c.paint(pelvis, str(rng.choice(["fluid", "fat", "organ"])), (outer,), label=c.chance(0.3))
            cyst: tuple[int, ...] = ()
            if c.chance(0.3):
                cyst = mass(c, place + c.size(0.1, 0.1, 0.1), c.size(0.1, 0.1, 0.1, 0.4), (outer,))
            c.label(outer, core, *cyst)
    for kind, family, y, x, size in (
        ("organ", bean, 0.0, 0.6 * flip, 0.25),
        ("organ", curl, -0.05, 0.05, 0.16),
        ("fluid", ellipsoid, -0.3, -0.25 * flip, 0.13),
        ("organ", plate, 0.15, 0.3, 0.1),
        ("organ", plate, 0.15, -0.3, 0.1),
    ):
        if c.chance(0.7):
            shape = family(g, c.at(c.u(-0.6, 0.6), y, x), c.size(size, size, size, 0.25), rng)
            c.paint(shape, kind, outlined=c.chance(0.2))
    if c.chance(0.7):  # the stomach: a wall, and what is in it
        place = c.at(c.u(-0.6, 0.6), -0.3, 0.35 * flip)
        where, u = local(g, place, c.size(0.35, 0.25, 0.3), rng, 0.2)
        v = norm(u).sqrt()
        wall = c.paint(Patch(where, v < 1), "wall", label=False)
        content = c.paint(Patch(where, v < c.u(0.75, 0.9)), "fluid", label=False)
        level = c.u(-0.4, 0.4)
        gas = c.paint(
            Patch(where, (v < 0.75) & (g.axes(where)[1] < place[1] + level * 0.2 * c.unit)),
            "air",
            label=False,
        )
        c.label(wall, content, gas)


def trunk(c: Canvas) -> None:
    """Chest or abdomen: walls, spine with cord, ribs, great vessels, lungs or belly."""
    g, rng = c.grid, c.rng
    _, wall, cavity = _outline(c, c.u(0.6, 0.85), c.u(0.85, 1.0), c.u(0.03, 0.25))
    chest = c.chance(0.45)
    room = c.paint(cavity, "soft" if chest else str(rng.choice(["fat", "soft"])), label=False)
    if c.chance(0.6) and cavity.mask.numel():  # ribs: slanting stripes of the wall
        z, y, x = g.axes(cavity.where)
        slant = z + 0.4 * (y - c.centre[1]) + c.u(0, 9)
        stripes = (slant / (0.35 * c.unit)).frac() < c.u(0.25, 0.5)
        rim = torch.nn.functional.max_pool2d(cavity.mask.float(), 3, 1, 1) > 0
        gap = (x - c.centre[2]).abs() > 0.15 * c.unit
        ribs = rim & ~cavity.mask & stripes & gap
        c.paint(Patch(cavity.where, ribs), "bone", (wall, room))
    if chest:
        _lungs(c, (room,))
        where, u = local(g, c.at(c.u(-0.4, 0.6), -0.1, 0.15), c.size(0.4, 0.3, 0.33), rng, 0.08)
        v = norm(u).sqrt()
        muscle = c.paint(Patch(where, v < 1), "muscle", label=False)
        chambers = [
            c.paint(
                ellipsoid(g, c.at(0, c.u(-0.25, 0.05), c.u(0, 0.3)), c.size(0.18, 0.13, 0.13), rng),
                "blood",
                (muscle,),
            )
            for _ in range(int(rng.integers(1, 4)))
        ]
        c.label(muscle, *chambers)
        if c.chance(0.4):
            arch = horseshoe(g, c.at(0, 0.1, 0.05), c.size(0.4, 0.2, 0.2), rng, 0.3)
            c.paint(arch, "blood")
    else:
        _belly(c, (room,))
    spine(c, c.u(0.38, 0.5), 0, c.u(0.12, 0.18))
    c.paint(column(g, c.at(0, 0.25, 0.08), c.size(1, 0.08, 0.08, 0.25), rng), "blood", outlined=c.chance(0.3))
    c.paint(column(g, c.at(0, 0.2, -0.1), c.size(1, 0.08, 0.08, 0.25), rng), "blood", label=c.chance(0.6))
    gullet = c.paint(
        column(g, c.at(0, 0.15, 0.02), c.size(1, 0.055, 0.055, 0.25), rng), "muscle", label=False
    )
    c.label(
        gullet,
        c.paint(column(g, c.at(0, 0.15, 0.02), c.size(1, 0.02, 0.02), rng), "air", (gullet,), label=False),
    )
    if c.chance(0.3):
        _pair(c, 0.3, 0.3, 0.09, "muscle")


def neck(c: Canvas) -> None:
    """Head and neck: cord in its ring, airway, mandible, glands left and right, vessels, gullet, nodes."""
    g, rng = c.grid, c.rng
    skin, wall, cavity = _outline(c, c.u(0.7, 0.95), c.u(0.6, 0.9), c.u(0.02, 0.15))
    room = c.paint(cavity, str(rng.choice(["muscle", "fat", "soft"])), label=False)
    inside = (wall, room)
    for _ in range(int(rng.integers(2, 7))):
        c.paint(
            lobes(g, c.at(c.u(-1, 1), c.u(-0.6, 0.6), c.u(-0.6, 0.6)), c.size(0.2, 0.15, 0.15), rng),
            "fat",
            inside,
            label=False,
        )
    like: int | None = None
    glands = []
    y, x, size = c.u(-0.2, 0.2), c.u(0.42, 0.6), c.u(0.1, 0.2)
    for side in (-1, 1):
        shape = (lobes, blob, solid)[int(rng.integers(3))](
            g, c.at(c.u(-0.3, 0.5), y, side * x), c.size(1.5 * size, 1.2 * size, size), rng
        )
        like = c.paint(shape, "gland", (*inside, skin), like) or like
        glands.append(like or 0)
    spine(c, c.u(0.15, 0.35), 0, c.u(0.12, 0.2))
    if c.chance(0.4):
        tangle(c, c.at(c.u(-0.9, 0.9), c.u(-0.5, 0.4), c.u(-0.2, 0.2)), c.size(0.4, 0.5, 0.5, 0.2), inside)
    if c.chance(0.7):
        jaw = horseshoe(g, c.at(c.u(-0.6, 0.8), -0.3, 0), np.maximum(c.size(0.15, 0.5, 0.5), 3), rng, 0.25)
        c.paint(jaw, "bone")
    _pair(c, c.u(-0.1, 0.15), c.u(0.25, 0.4), 0.06, "blood")
    _pair(c, c.u(-0.1, 0.15), c.u(0.4, 0.5), 0.06, "blood")
    airway = c.at(0, c.u(-0.3, -0.1), 0)
    box = c.paint(column(g, airway, c.size(1, 0.16, 0.16), rng), "wall")
    c.paint(column(g, airway, c.size(1, 0.1, 0.1), rng), "air", label=c.chance(0.5))
    c.paint(column(g, c.at(0, 0.0, 0.02), c.size(1, 0.06, 0.07), rng), "muscle")
    if c.chance(0.4):
        thyroid = crescent_around(c, airway)
        c.paint(thyroid, "organ", (*inside, box or wall))
    if c.chance(0.5):
        c.paint(
            cluster(g, c.at(0, 0, c.u(-0.5, 0.5)), c.size(0.5, 0.25, 0.15), rng), "lesion", (*inside, skin)
        )
    if c.chance(0.5):
        mass(
            c,
            c.at(c.u(-0.5, 0.5), c.u(-0.4, 0.2), c.u(-0.4, 0.4)),
            c.size(0.15, 0.15, 0.15, 0.4),
            (*inside, *glands, box),
        )


def crescent_around(c: Canvas, place: np.ndarray) -> Patch:
    """A half ring hugging the front and sides of a tube."""
    where, u = local(c.grid, place, c.size(0.3, 0.24, 0.3), c.rng, 0.12, 0.1)
    inner = u[1].square() + u[2].square() > 0.35
    return Patch(where, (norm(u) < 1) & inner & (u[1] < 0.3))


def limb(c: Canvas) -> None:
    """Fat, muscles that touch along thin lines, long bones with marrow, a soft-tissue mass."""
    g, rng = c.grid, c.rng
    if c.chance(0.3):
        c.unit *= 1.5
    skin, wall, _ = _outline(c, c.u(0.7, 0.95), c.u(0.7, 0.95), c.u(0.03, 0.35))
    muscles = [wall]
    for _ in range(int(rng.integers(2, 8))):
        belly = column(g, c.at(0, c.u(-0.6, 0.6), c.u(-0.6, 0.6)), c.size(1, 0.25, 0.25, 0.3), rng)
        new = c.paint(belly, "muscle", tuple(muscles), wall if c.chance(0.85) else None, c.chance(0.3), True)
        muscles += [new] if new else []
    for _ in range(int(rng.integers(1, 3))):
        place, size = c.at(0, c.u(-0.35, 0.35), c.u(-0.35, 0.35)), c.u(0.1, 0.2)
        path = drift(g, place[1:], rng, 0.1)
        bone = c.paint(column(g, place, c.size(1, size, size), rng, path), "bone", label=False)
        inner = size * c.u(0.5, 0.8)
        marrow = c.paint(
            column(g, place, c.size(1, inner, inner), rng, path), "marrow", (bone,), label=c.chance(0.4)
        )
        c.label(bone, marrow)
    c.paint(column(g, c.at(0, 0.2, 0.2), c.size(1, 0.04, 0.04), rng), "blood", label=c.chance(0.5))
    for _ in range(1 if c.chance(0.8) else 2):
        size = c.u(0.15, 0.5)
        place = c.at(c.u(-0.4, 0.4), c.u(-0.4, 0.4), c.u(-0.4, 0.4))
        tumour = mass(
            c,
            place,
            c.size(1.2 * size, size, size, 0.2),
            (*muscles, skin) if c.chance(0.5) else tuple(muscles),
        )
        if tumour and c.chance(0.25):
            c.like[tumour[0]] = c.like[wall]
            c.outlined[tumour[0]] = True
    if c.chance(0.2):  # the other limb, or an arm, at the edge
        c.paint(
            column(g, c.at(0, c.u(-0.5, 0.5), 1.3), c.size(1, 0.4, 0.4), rng), "muscle", (0,), label=False
        )


def hot_spots(c: Canvas) -> None:
    """Whole-body uptake: warm organs, hot bladder, heart, brain and kidneys, lesions of any heat."""
    g, rng = c.grid, c.rng
    _, wall, cavity = _outline(c, c.u(0.5, 0.85), c.u(0.7, 0.95), c.u(0.02, 0.1))
    room = c.paint(cavity, "soft", label=False)
    inside = (wall, room)
    for _ in range(int(rng.integers(1, 4))):
        shape = lobes(g, c.at(c.u(-0.8, 0.8), c.u(-0.4, 0.4), c.u(-0.5, 0.5)), c.size(0.4, 0.3, 0.3), rng)
        c.paint(shape, str(rng.choice(["organ", "lung", "warm"])), inside, label=c.chance(0.3))
    for _ in range(int(rng.integers(1, 4))):
        place = c.at(c.u(-0.9, 0.9), c.u(-0.4, 0.4), c.u(-0.4, 0.4))
        family = (ellipsoid, bean, lobes)[int(rng.integers(3))]
        shape = family(g, place, c.size(0.2, 0.15, 0.15, 0.3), rng)
        hot = c.paint(shape, "hot", label=c.chance(0.6))
        if hot and c.chance(0.35):  # the heart's cavity is cold
            c.paint(ellipsoid(g, place, c.size(0.1, 0.08, 0.08, 0.2), rng), "blood", (hot,), label=False)
    found: list[int] = []
    for _ in range(int(rng.integers(1, 6))):
        place = c.at(c.u(-0.8, 0.8), c.u(-0.5, 0.5), c.u(-0.6, 0.6))
        size = c.u(0.04, 0.25)
        found += mass(c, place, c.size(size, size, size, 0.3), (), "hot")
    if c.chance(0.5):
        c.label(*found)
    if c.chance(0.3):
        one, two = split(g, lobes(g, c.at(0, 0, 0.3), c.size(0.2, 0.2, 0.2), rng), rng)
        c.paint(one, "hot", inside)
        c.paint(two, "hot", inside)
