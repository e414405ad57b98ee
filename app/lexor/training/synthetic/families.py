"""Every family of shapes, and how often scenes draw it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.shapes import (
    Patch,
    Rng,
    Vector,
    bean,
    blob,
    cluster,
    crescent,
    lobes,
    plate,
    ragged,
    shell,
    solid,
)
from lexor.training.synthetic.tubes import column, curl, horseshoe, tree, tube

Family = Callable[[Grid, Vector, Vector, Rng], Patch]
FAMILIES: dict[Family, float] = {
    solid: 0.22,
    blob: 0.10,
    ragged: 0.07,
    lobes: 0.10,
    tube: 0.07,
    column: 0.08,
    crescent: 0.05,
    bean: 0.05,
    shell: 0.06,
    plate: 0.04,
    cluster: 0.05,
    tree: 0.04,
    horseshoe: 0.03,
    curl: 0.04,
}
_NAMES = list(FAMILIES)
_WEIGHTS = np.array(list(FAMILIES.values())) / sum(FAMILIES.values())


def any_shape(grid: Grid, c: Vector, r: Vector, rng: Rng) -> Patch:
    """A shape of a random family."""
    return _NAMES[int(rng.choice(len(_NAMES), p=_WEIGHTS))](grid, c, r, rng)
