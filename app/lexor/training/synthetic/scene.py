"""One random scene: a composition painted on a grid, turned, rendered, and the targets that can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexor.geometry import Shape
from lexor.training.synthetic.anatomy import clutter, draw_composition
from lexor.training.synthetic.canvas import MIN_VOXELS, Canvas
from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.looks import STYLES, finish, render

_SHARES = (0.3, 0.27, 0.13, 0.2, 0.1)
# How a composition's axes come to lie in the volume: axial mostly, else sagittal or coronal.
_TURNS: tuple[tuple[int, int, int], ...] = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
# A scene of many small parts would drown the others.
MAX_TARGETS = 14


@dataclass(frozen=True)
class Scene:
    """A synthetic volume: uint8 image (D, H, W), one boolean mask per target. Targets may overlap: nested ones do.

    style: one of STYLES. ratio: slice distance over pixel size, 1..5.
    """

    image: np.ndarray
    targets: tuple[np.ndarray, ...]
    style: str
    ratio: float = 1.0


def _drawn_ratio(rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < 0.4:
        return 1.0
    return float(
        rng.uniform(1, 2) if kind < 0.65 else rng.uniform(2, 3.5) if kind < 0.88 else rng.uniform(3.5, 5)
    )


def _bounds(mask: Tensor, margin: int) -> tuple[slice, slice, slice]:
    """The box around a mask, with a margin."""
    # Reductions of bytes are many times faster than those of booleans.
    flags = mask.view(torch.uint8)
    columns = flags.amax(0)
    found = []
    for hit in (flags.flatten(1).amax(1), columns.amax(1), columns.amax(0)):
        inside = hit.nonzero()
        found.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + 1 + margin))
    return found[0], found[1], found[2]


def contrast(image: Tensor, mask: Tensor) -> float:
    """Difference of the means inside and in the rim two voxels around, in units of both spreads.

    image: 0..255. Below zero for a target darker than its rim; zero where both are black or white.
    """
    where = _bounds(mask, 2)
    mask, image = mask[where], image[where].float()
    grown = mask.float()[None, None]
    for kernel in ((5, 1, 1), (1, 5, 1), (1, 1, 5)):
        grown = F.max_pool3d(grown, kernel, 1, tuple(k // 2 for k in kernel))
    rim = (grown[0, 0] > 0) & ~mask
    if not bool(rim.any()):
        return 0.0
    inside, outside = image[mask], image[rim]
    if float(inside.median()) == float(outside.median()) in (0.0, 255.0):
        return 0.0
    spread = float(outside.std(correction=0) + inside.std(correction=0))
    return float(inside.mean() - outside.mean()) / (spread + 0.5) if spread > 0.2 else 0.0


def make_scene(
    rng: np.random.Generator,
    shape: Shape | None = None,
    style: str | None = None,
    device: torch.device | str = "cpu",
    ratio: float | None = None,
) -> Scene:
    """One random volume with its targets.

    Args:
        rng: the only source of randomness; the same state gives the same scene on the same device.
        shape: (D, H, W); drawn when None.
        style: one of STYLES; drawn when None.
        device: where the tensors are worked on; the scene comes back as numpy arrays.
        ratio: slice distance over pixel size; drawn from 1..5 when None.
    """
    ratio = _drawn_ratio(rng) if ratio is None else ratio
    if shape is None:
        height, width = (int(n) for n in rng.integers(64, 116, 2))
        shape = (int(np.clip(rng.uniform(24, 110) / ratio, 14, 60)), height, width)
    style = style or str(rng.choice(STYLES, p=_SHARES))
    while True:
        turn = _TURNS[int(rng.choice(3, p=[0.8, 0.1, 0.1]))]
        back = np.argsort(turn)
        scale = np.array([ratio, 1.0, 1.0])
        z, y, x = (int(shape[a]) for a in back)
        sz, sy, sx = (float(scale[a]) for a in back)
        canvas = Canvas(Grid((z, y, x), (sz, sy, sx), device), rng)
        draw_composition(style, rng)(canvas)
        if rng.random() < 0.7:
            clutter(canvas)
        flips = [axis for axis in range(3) if rng.random() < (0.5, 0.15, 0.5)[axis]]
        tissue = canvas.tissue.permute(turn).flip(flips).contiguous()
        image = finish(render(canvas, tissue, style, rng, ratio), style, rng)
        targets = _visible(canvas, tissue, image, style, rng) if image is not None else ()
        if image is not None and targets:
            return Scene(image.cpu().numpy(), targets, style, ratio)


def _visible(
    canvas: Canvas, tissue: Tensor, image: Tensor, style: str, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Masks of the targets that are large enough, small enough, and mostly such as one can see."""
    distinct = list(dict.fromkeys(canvas.targets))
    if len(distinct) > MAX_TARGETS:
        distinct = [distinct[i] for i in sorted(rng.choice(len(distinct), MAX_TARGETS, replace=False))]
    sizes = torch.bincount(tissue.flatten(), minlength=len(canvas.kinds)).cpu().numpy()
    masks = []
    for indices in distinct:
        size = int(sizes[list(indices)].sum())
        # Targets nobody could see teach only to trust the box; some of those are wanted, most are not.
        wanted, anyway = rng.uniform(0.05, 0.42), rng.random() < (0.8 if indices in canvas.faint else 0.12)
        if not MIN_VOXELS <= size <= 0.5 * tissue.numel():
            continue
        mask = canvas.chosen(indices).index_select(0, tissue.flatten()).view(tissue.shape)
        seen = contrast(image, mask)
        # PET's targets are hot, with few exceptions; what is lost in black or white nobody can learn.
        if abs(seen) > wanted * (4 if style == "PET" and seen < 0 else 1) or (anyway and seen != 0):
            masks.append(mask.cpu().numpy())
    return tuple(masks)
