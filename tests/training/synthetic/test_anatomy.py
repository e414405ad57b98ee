from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage

from lexor.training.synthetic import anatomy, bodies, bones, organs
from lexor.training.synthetic.anatomy import COMPOSITIONS, Composition, draw_composition, pack
from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.looks import STYLES
from lexor.training.synthetic.shapes import Patch


def painted(compose: Callable[[Canvas], object], seed: int, ratio: float = 1.0) -> Canvas:
    canvas = Canvas(Grid((24, 56, 60), (ratio, 1.0, 1.0)), np.random.default_rng(seed))
    compose(canvas)
    return canvas


def mask(canvas: Canvas, indices: tuple[int, ...]) -> np.ndarray:
    return np.isin(canvas.tissue.numpy(), indices)


def of_kind(canvas: Canvas, kind: str) -> np.ndarray:
    return mask(canvas, tuple(i for i, k in enumerate(canvas.kinds) if k == kind))


@pytest.mark.parametrize("compose", COMPOSITIONS, ids=lambda compose: compose.__name__)
def test_a_composition_leaves_targets_of_existing_tissues(compose: Composition) -> None:
    found = 0
    for seed in range(4):
        canvas = painted(compose, seed, 1.0 + seed)
        assert canvas.tissue.dtype == torch.int32
        assert canvas.tissue.shape == (24, 56, 60)
        assert len(canvas.kinds) == len(canvas.like) == len(canvas.outlined)
        assert 0 <= int(canvas.tissue.min()) <= int(canvas.tissue.max()) < len(canvas.kinds)
        assert all(0 < i < len(canvas.kinds) for target in canvas.targets for i in target)
        found += sum(int(mask(canvas, target).sum()) >= 20 for target in canvas.targets)
    assert found >= 4


@pytest.mark.parametrize("compose", COMPOSITIONS, ids=lambda compose: compose.__name__)
def test_a_composition_bears_a_field_that_shows_next_to_nothing(compose: Composition) -> None:
    """Parts that are not in it have no tissue, and none is painted into them."""
    for seed in range(12):
        canvas = Canvas(Grid((1, 6, 6), (5.0, 1.0, 1.0)), np.random.default_rng(seed))
        compose(canvas)
        assert int(canvas.tissue.max()) < len(canvas.kinds)


def test_painting_hides_what_was_there_and_keeps_within() -> None:
    canvas = Canvas(Grid((8, 8, 8)), np.random.default_rng(0))
    box = (slice(1, 7), slice(1, 7), slice(1, 7))
    outer = canvas.paint(Patch(box, torch.ones(6, 6, 6, dtype=torch.bool)), "organ")
    everywhere = Patch((slice(0, 8), slice(0, 8), slice(0, 4)), torch.ones(8, 8, 4, dtype=torch.bool))
    inner = canvas.paint(everywhere, "lesion", within=(outer,), like=outer)
    assert mask(canvas, (outer,)).sum() == 6 * 6 * 3
    assert mask(canvas, (inner,)).sum() == 6 * 6 * 3
    assert canvas.like[inner] == outer
    assert canvas.paint(everywhere, "air", within=(outer,)) == 0
    assert len(canvas.kinds) == 3
    assert canvas.targets == [(outer,), (inner,)]


def test_the_cord_lies_in_fluid_in_a_ring_of_bone_on_nearly_every_slice() -> None:
    inside, slices = 0, 0
    for seed in range(8):
        canvas = Canvas(Grid((24, 80, 80)), np.random.default_rng(seed))
        canvas.unit, canvas.centre = 30.0, canvas.grid.extent / 2
        bones.spine(canvas, -0.3, 0.0, 0.3)
        cord, fluid, bone = of_kind(canvas, "cord"), of_kind(canvas, "csf"), of_kind(canvas, "bone")
        assert cord.any((1, 2)).all()
        for z in range(24):
            ring = bone[z] | of_kind(canvas, "marrow")[z] | of_kind(canvas, "disc")[z]
            inner = ndimage.binary_fill_holes(ring) & ~ring
            inside += int((cord[z] & inner).sum() == cord[z].sum())
            slices += 1
        rim = ndimage.binary_dilation(cord) & ~cord
        assert fluid[rim].mean() > 0.5
    assert inside > 0.8 * slices


def test_the_parts_of_a_hippocampus_touch() -> None:
    touching = 0
    for seed in range(6):
        canvas = painted(organs.hippocampus, seed)
        parts = [mask(canvas, (i,)) for i, kind in enumerate(canvas.kinds) if kind == "nuclei"]
        touching += int(len(parts) == 2 and (ndimage.binary_dilation(parts[0]) & parts[1]).any())
    assert touching >= 5


def test_a_heart_has_a_wall_around_its_left_chamber() -> None:
    thick = 0
    for seed in range(6):
        canvas = painted(organs.heart, seed)
        walls = [t for t in canvas.targets if canvas.kinds[t[0]] == "muscle"]
        chamber = of_kind(canvas, "blood")
        rim = ndimage.binary_dilation(chamber, iterations=2) & ~chamber
        thick += int(bool(walls) and mask(canvas, walls[0])[rim].mean() > 0.15)
    assert thick >= 4


def test_the_label_of_a_tumour_holds_its_cores() -> None:
    with_core = 0
    for seed in range(10):
        canvas = Canvas(Grid((30, 40, 40)), np.random.default_rng(seed))
        ground = canvas.fill("soft")
        parts = organs.mass(canvas, np.array([15.0, 20, 20]), np.full(3, 9.0), (ground,))
        whole = max(canvas.targets, key=len)
        assert whole == tuple(sorted(parts))
        with_core += len(parts) > 1
    assert 2 <= with_core <= 9


def test_packed_cells_do_not_overlap_and_many_touch() -> None:
    canvas = Canvas(Grid((16, 40, 40)), np.random.default_rng(2))
    patches = [p.full(canvas.grid).numpy() for p in pack(canvas, 12, 9.0, 0.2, 1.5)]
    total = np.sum(patches, 0)
    assert total.max() == 1
    assert total.mean() > 0.5
    touching = sum(
        bool((ndimage.binary_dilation(a) & b).any()) for i, a in enumerate(patches) for b in patches[i + 1 :]
    )
    assert touching >= 8


def test_clutter_leaves_targets_alone() -> None:
    changed = 0
    for seed in range(6):
        canvas = painted(bodies.limb, seed)
        before, targets = canvas.tissue.clone(), list(canvas.targets)
        labelled = np.isin(before.numpy(), [i for target in targets for i in target])
        anatomy.clutter(canvas)
        assert canvas.targets == targets
        different = (canvas.tissue != before).numpy()
        assert not different[labelled].any()
        assert not different[before.numpy() == 0].any()
        changed += int(different.sum() > 50)
    assert changed >= 4


def test_styles_draw_the_compositions_that_fit_them() -> None:
    rng = np.random.default_rng(0)
    drawn = {style: [draw_composition(style, rng) for _ in range(300)] for style in STYLES}
    assert drawn["Microscopy"].count(anatomy.cells) > 80
    assert drawn["CT"].count(anatomy.cells) < 15
    assert drawn["US"].count(organs.gland) > drawn["CT"].count(organs.gland)
    assert all(len(set(compositions)) >= 7 for compositions in drawn.values())
