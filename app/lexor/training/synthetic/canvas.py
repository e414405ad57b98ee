"""The tissue map that a scene's anatomy is painted on, and the targets as sets of its tissues."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.shapes import Patch

MIN_VOXELS = 20


class Canvas:
    """Tissue index per voxel, painted back to front; later objects hide earlier ones.

    tissue: int32 (D, H, W), 0 is outside the body. kinds: what each index is made of, see looks.KINDS.
    like: the index whose intensity it shares (itself mostly). outlined: a boundary line is drawn around it.
    targets: the indices that make up each target: a target that holds others inside lists theirs too.
    faint: those of them that are wanted even if they can hardly be seen.
    """

    def __init__(self, grid: Grid, rng: np.random.Generator) -> None:
        self.grid, self.rng = grid, rng
        self.tissue: Tensor = torch.zeros(grid.shape, dtype=torch.int32, device=grid.device)
        self.kinds = ["outside"]
        self.like = [0]
        self.outlined = [False]
        self.targets: list[tuple[int, ...]] = []
        self.faint: set[tuple[int, ...]] = set()
        # The body's frame: most objects are placed and sized in its units, and may be cut off by the grid.
        zoom = float(np.exp(rng.normal(0.1, 0.3)))
        self.unit = 0.5 * float(grid.extent[1:].min()) * zoom
        shift = rng.uniform(-0.6, 0.6, 3) * max(zoom - 0.9, 0.05) * self.unit
        self.centre = grid.extent / 2 + shift * np.array([0.3, 1.0, 1.0])

    def u(self, low: float, high: float) -> float:
        """A uniform draw."""
        return float(self.rng.uniform(low, high))

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def at(self, z: float, y: float, x: float, jitter: float = 0.05) -> np.ndarray:
        """A place in the body: z in -1..1 over the grid's depth, y and x in units of the body."""
        place: np.ndarray = self.centre + np.array(
            [z * self.grid.extent[0] / 2, y * self.unit, x * self.unit]
        )
        return place + self.rng.normal(0, jitter * self.unit, 3)

    def size(self, z: float, y: float, x: float, spread: float = 0.15) -> np.ndarray:
        """Radii in units of the body, at least 1.2 voxels."""
        radii = np.array([z, y, x]) * self.unit * np.exp(self.rng.normal(0, spread, 3))
        return np.maximum(radii, 1.2 * np.array([max(1.0, 0.7 * self.grid.scale[0]), 1.0, 1.0]))

    def add(self, kind: str, like: int | None = None, outlined: bool = False) -> int:
        """A new tissue."""
        self.kinds.append(kind)
        index = len(self.kinds) - 1
        self.like.append(index if like is None else self.like[like])
        self.outlined.append(outlined)
        return index

    def chosen(self, indices: tuple[int, ...]) -> Tensor:
        """Table over tissues: True for these."""
        table = torch.zeros(len(self.kinds), dtype=torch.bool, device=self.grid.device)
        table[list(indices)] = True
        return table

    def fill(self, kind: str) -> int:
        """The whole field of view becomes one tissue."""
        index = self.add(kind)
        self.tissue.fill_(index)
        return index

    def paint(
        self,
        patch: Patch,
        kind: str,
        within: tuple[int, ...] = (),
        like: int | None = None,
        label: bool = True,
        outlined: bool = False,
        least: int = 8,
    ) -> int:
        """Paints a patch where the tissue is one of `within` (anywhere if empty).

        Returns the new tissue, or 0 where fewer than `least` voxels would be painted; then nothing happens.
        """
        mask = patch.mask
        if within:
            under = self.tissue[patch.where]
            mask = mask & self.chosen(within)[under.long()]
        if int(mask.sum()) < least:
            return 0
        index = self.add(kind, like, outlined)
        self.tissue[patch.where].masked_fill_(mask, index)
        if label:
            self.targets.append((index,))
        return index

    def label(self, *indices: int, faint: bool = False) -> None:
        """These tissues together are a target; zeros are left out."""
        found = tuple(sorted({i for i in indices if i}))
        if found:
            self.targets.append(found)
        if found and faint:
            self.faint.add(found)
