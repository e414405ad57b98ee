"""Single organs that fill the view: brain, heart, gland, hippocampus."""

from __future__ import annotations

import numpy as np

from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.shapes import (
    Patch,
    blob,
    cluster,
    crescent,
    ellipsoid,
    lobes,
    local,
    norm,
    plate,
    ragged,
    solid,
    split,
)
from lexor.training.synthetic.tubes import column, curl, horseshoe, sweep, tree, walk


def mass(
    c: Canvas, place: np.ndarray, radii: np.ndarray, within: tuple[int, ...], kind: str = "lesion"
) -> tuple[int, ...]:
    """A tumour: plain, or with dead cores and a rim; the label is the whole. Returns its tissues, outer first."""
    family = (ellipsoid, blob, lobes, solid, ragged)[int(c.rng.choice(5, p=[0.25, 0.25, 0.2, 0.1, 0.2]))]
    patch = family(c.grid, place, radii, c.rng)
    outer = c.paint(patch, kind, within, label=False)
    if not outer:
        return ()
    parts = [outer]
    if c.chance(0.5):
        for _ in range(int(c.rng.integers(1, 4))):
            shift = c.rng.uniform(-0.45, 0.45, 3) * radii
            size = np.maximum(radii * c.u(0.25, 0.7), 1.3)
            core = blob if c.chance(0.5) else ragged
            parts.append(
                c.paint(core(c.grid, place + shift, size, c.rng), "necrosis", (outer,), label=c.chance(0.15))
            )
    c.label(*parts)
    return tuple(p for p in parts if p)


def brain(c: Canvas) -> None:
    """Scalp, skull, fluid, folded cortex, white matter, ventricles, nuclei, lesions; the two sides alike."""
    g, rng = c.grid, c.rng
    half = g.extent[0] * c.u(0.5, 0.9)
    radii = np.array([max(half, 0.7 * c.unit), c.unit * c.u(0.8, 0.95), c.unit * c.u(0.65, 0.85)])
    where, u = local(g, c.centre, radii, rng, 0.04, 0.15, reach=1.15)
    v = norm(u).sqrt()
    skull = c.u(0.04, 0.1)
    if c.chance(0.7):  # else the skull is stripped
        c.paint(Patch(where, v < 1.13), "fat", label=False)
        c.paint(Patch(where, v < 1.0 + skull), "bone", label=c.chance(0.3))
    csf = c.paint(Patch(where, v < 1.0), "csf", label=False)
    fold = g.noise(where, c.u(9, 16), rng)
    reach = c.u(0.9, 0.97)
    surface = v + 0.35 * (fold.abs() < c.u(0.12, 0.3)) * (v > c.u(0.5, 0.75))
    grey = c.paint(Patch(where, surface < reach), "grey", label=False)
    depth = c.u(0.1, 0.2)
    core = v + 0.5 * depth * fold + 0.9 * depth * (fold.abs() < 0.45) * (v > 0.5) < reach - depth
    white = c.paint(Patch(where, core), "white", (grey,), label=False)
    ventricles, nuclei = [], []
    offset = c.u(0.08, 0.16)
    for side in (-1, 1):
        arch = c.at(0, c.u(-0.15, 0.05), side * offset, 0.01)
        swing = walk(arch, np.array([0.3, 1.0, 0.35 * side]), 0.5 * c.unit, rng, 0.05)
        swing = swing - np.array([0, 0.25 * c.unit, 0])
        horn = sweep(g, swing, np.maximum(c.unit * c.u(0.05, 0.13) * np.linspace(1, 0.5, len(swing)), 0.9))
        ventricles.append(c.paint(horn, "csf", (grey, white), csf or None, label=False))
    for _ in range(int(rng.integers(1, 4))):
        y, x, size = c.u(-0.2, 0.3), c.u(0.18, 0.35), c.u(0.06, 0.13)
        like = None
        for side in (-1, 1):
            nucleus = ellipsoid(g, c.at(0, y, side * x, 0.02), c.size(size, 1.4 * size, size), rng, 0.1, 0.5)
            like = c.paint(nucleus, "nuclei", (white, grey), like, label=False) or like
            nuclei.append(like or 0)
            c.label(nuclei[-1])
    if c.chance(0.4):
        hippocampus(c, (grey, white), c.at(c.u(-0.4, 0.2), c.u(0.1, 0.3), c.u(-0.4, 0.4)), 0.2)
    if c.chance(0.5):  # the stem
        c.paint(column(g, c.at(0, 0.35, 0), c.size(0.2, 0.14, 0.16), rng), "white", (white, grey, csf))
    spots = [0]
    for _ in range(int(rng.integers(0, 5)) if c.chance(0.5) else 0):
        place = c.at(c.u(-0.5, 0.5), c.u(-0.5, 0.5), c.u(-0.4, 0.4))
        lesion = cluster(g, place, c.size(0.25, 0.3, 0.2), rng)
        spots.append(
            c.paint(lesion, "lesion", (white, grey), spots[1] if len(spots) > 1 else None, False, least=4)
        )
    c.label(*spots)
    if c.chance(0.5):
        place = c.at(c.u(-0.4, 0.4), c.u(-0.5, 0.5), c.u(-0.45, 0.45))
        mass(c, place, c.size(0.2, 0.2, 0.2, 0.35), (white, grey, csf, *spots[1:]))
    c.label(*ventricles)
    c.label(grey)
    c.label(white, *spots)
    if c.chance(0.4):
        c.label(*range(max(csf, 1), len(c.kinds)))


def hippocampus(
    c: Canvas, within: tuple[int, ...] = (), place: np.ndarray | None = None, size: float | None = None
) -> None:
    """A curved grey tube in a folded patch of brain, head and tail touching; alone it fills the view."""
    if place is None:
        grey = c.fill("grey")
        white, csf = c.add("white"), c.add("csf")
        cells = c.u(3, 7)
        fold, other = (c.grid.noise(c.grid.all, cells, c.rng) for _ in range(2))
        c.tissue[fold > 0.35] = white
        c.tissue[(other.abs() < 0.22) & (fold < 0.9)] = csf
        within, place, size = (grey, white, csf), c.at(0, 0, 0, 0.15), c.u(0.3, 0.55)
    size = size or 0.3
    body = curl(c.grid, place, c.size(size, size, size), c.rng)
    head, tail = split(c.grid, body, c.rng, warp=0.1)
    first = c.paint(head, "nuclei", within)
    if not first:
        return
    second = c.paint(tail, "nuclei", within, first if c.chance(0.8) else None)
    if c.chance(0.2):
        c.label(first, second)


def heart(c: Canvas) -> None:
    """Chambers: a thick left and a thin right ventricle, atria, great vessels, a sac, lungs around."""
    g, rng = c.grid, c.rng
    around = c.fill(str(rng.choice(["lung", "fat", "muscle", "soft"])))
    size = c.u(0.4, 0.75)
    fat = 0
    if c.chance(0.7):
        fat = c.paint(
            ellipsoid(g, c.at(0, 0, 0), c.size(1.4 * size, 1.2 * size, 1.2 * size), rng),
            "fat",
            label=c.chance(0.2),
        )
    place = c.at(0, 0.05, 0.15)
    where, u = local(g, place, c.size(size, 0.65 * size, 0.65 * size), rng, 0.06)
    v = norm(u).sqrt()
    base = c.u(0.3, 0.8)
    axis = u[0] < base
    wall = c.u(0.55, 0.8)
    side = rng.standard_normal(3)
    side *= c.unit * size * c.u(0.55, 0.75) / np.linalg.norm(side)
    right = ellipsoid(g, place + side, c.size(0.8 * size, 0.55 * size, 0.55 * size), rng, 0.1, None)
    if c.chance(0.6):
        c.paint(
            ellipsoid(g, place + side, c.size(0.86 * size, 0.62 * size, 0.62 * size), rng, 0.1),
            "muscle",
            label=False,
        )
    rv = c.paint(right, "blood", label=False)
    myocardium = c.paint(Patch(where, (v < 1) & axis), "muscle", label=False)
    lv = c.paint(Patch(where, (v < wall) & (axis | (v < 0.9 * wall))), "blood", like=rv or None)
    scar = 0
    if c.chance(0.25) and myocardium:
        scar = c.paint(ragged(g, place + 0.5 * side, c.size(0.3, 0.3, 0.3), rng), "lesion", (myocardium,))
    c.label(rv)
    c.label(myocardium, scar)
    if c.chance(0.3):
        c.label(lv, myocardium, scar)
    for _ in range(int(rng.integers(1, 3))):
        spot = c.at(c.u(-0.5, 0.5), c.u(-0.6, 0.6), c.u(-0.6, 0.6))
        shape = lobes(g, spot, c.size(0.35, 0.3, 0.3, 0.25), rng)
        c.paint(shape, "blood", (around, fat) if fat else (around,), rv if c.chance(0.7) and rv else None)
    arch = horseshoe if c.chance(0.4) else column
    c.paint(
        arch(g, c.at(0, c.u(-0.5, 0.5), c.u(-0.5, 0.5)), c.size(0.5, 0.14, 0.14), rng),
        "blood",
        like=rv or None,
    )


def gland(c: Canvas) -> None:
    """A smooth, barely bounded ellipsoid with zones: prostate, thyroid, breast lump, uterus, testis."""
    g, rng = c.grid, c.rng
    ground = c.fill("soft")
    cloud = g.noise(g.all, c.u(2, 5), rng)
    other = c.add(str(rng.choice(["muscle", "fat", "soft", "other"])))
    c.tissue[cloud > c.u(0.2, 1.0)] = other
    size = c.u(0.3, 0.7)
    place = c.at(0, c.u(-0.1, 0.15), 0)
    deep = min(size, 0.42 * float(g.extent[0]) / c.unit) if c.chance(0.8) else size
    radii = c.size(deep, size * c.u(0.6, 1), size, 0.08)
    if c.chance(0.6):  # rectum or probe below, bladder above
        below = place + np.array([0, radii[1] * c.u(1.1, 1.5), 0])
        c.paint(column(g, below, radii * c.u(0.35, 0.6), rng), str(rng.choice(["air", "fluid", "wall"])))
    if c.chance(0.4):
        above = place - np.array([radii[0] * c.u(0.3, 1), radii[1] * c.u(1.1, 1.6), 0])
        c.paint(ellipsoid(g, above, radii * c.u(0.5, 1), rng, 0.15), "fluid")
    where, u = local(g, place, radii, rng, c.u(0.02, 0.1), 0.1)
    faint = ground if c.chance(0.3) else None
    outer = c.paint(
        Patch(where, norm(u, c.u(1.8, 2.6)) < 1), "gland", like=faint, label=False, outlined=c.chance(0.5)
    )
    parts = [outer]
    if c.chance(0.6):
        zone = ellipsoid(g, place - np.array([0, 0.25 * radii[1], 0]), radii * c.u(0.4, 0.7), rng, 0.1)
        parts.append(c.paint(zone, "gland", (outer,), label=c.chance(0.5)))
        if c.chance(0.4):
            c.label(outer, faint=True)
    if c.chance(0.4):
        tract = column(g, place, np.maximum(0.12 * radii, 1.1), rng)
        parts.append(c.paint(tract, "fluid", (outer, *parts[1:]), label=c.chance(0.5)))
    for _ in range(int(rng.integers(0, 4))):  # landmarks: cysts, calcifications, nodules
        spot = place + rng.uniform(-0.6, 0.6, 3) * radii
        small = ellipsoid(g, spot, c.size(0.07, 0.07, 0.07, 0.35), rng, 0.1, None)
        parts.append(c.paint(small, str(rng.choice(["fluid", "lesion", "bone", "gland"])), tuple(parts)))
    if c.chance(0.3):
        seam = plate if c.chance(0.5) else crescent
        c.paint(seam(g, place + radii * rng.uniform(-1, 1, 3), radii * 0.5, rng), "wall", (ground, other))
    if c.chance(0.2):
        c.paint(tree(g, place, radii, rng), "blood", (ground, other))
    c.label(*parts, faint=True)
