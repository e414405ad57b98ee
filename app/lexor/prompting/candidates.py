"""Candidates for automatic prompts: boxes of whatever stands out of a volume, bright or dark, large or small.

The paper's Algorithm 1 looks for one bright region; organs are as often dark, or brighter only than what is beside
them. So many masks are made of a reduced volume (`lexor.prompting.masks`) and the components of each are proposed. An
object is found by several of them, at nearly the same box: the more of them, the earlier it is listed. Which of the
candidates are objects is for a segmenter to say (`lexor.inference.strategies.automatic`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped

from lexor.geometry import Box
from lexor.prompting.intensity import checked_volume
from lexor.prompting.masks import Kind, masks_of
from lexor.prompting.parameters import CandidateParameters
from lexor.prompting.reduction import Voxel, block_means, reduction_factors

# A component whose box spans this share of every axis is the background, or the whole of what was scanned.
EVERYWHERE = 0.95


@dataclass(frozen=True)
class Candidate:
    """A box that may hold an object.

    Attributes:
        box: half-open; its y and x are those of the component's middle slice, as the challenge measures a box.
        kind: of the mask that it is a component of, see `masks_of`, or "central".
        support: how many masks agree on the box; 0 for a central one.
    """

    box: Box
    kind: Kind | Literal["central"]
    support: int


@dataclass(frozen=True)
class _Component:
    """A component of a mask of the reduced volume: its voxels inside of its bounds."""

    kind: Kind
    where: tuple[slice, slice, slice]
    voxels: np.ndarray

    @property
    def lower(self) -> list[int]:
        return [s.start for s in self.where]

    @property
    def upper(self) -> list[int]:
        return [s.stop for s in self.where]


def propose(
    volume: Shaped[np.ndarray, "D H W"],
    ratio: float = 1.0,
    parameters: CandidateParameters | None = None,
) -> list[Candidate]:
    """Candidates, those with the most support first; none where nothing stands out, as in a constant volume.

    Args:
        volume: (D, H, W) of any real dtype. Only differences of intensity matter, not their scale or zero.
        ratio: slice distance over pixel size, for a reduction to about cubic voxels.
        parameters: None for the defaults.

    Returns:
        At most `parameters.most` of masks, whose components' bounds overlap by `parameters.overlap` or less, then
        those about the volume's middle.

    Raises:
        ValueError: the volume is empty, not 3D, or not of real numbers.
    """
    parameters = parameters or CandidateParameters()
    volume = checked_volume(volume)
    shape: Voxel = (volume.shape[0], volume.shape[1], volume.shape[2])
    factors = reduction_factors(shape, parameters.voxels, ratio)
    small = block_means(volume, factors)
    found = [
        component
        for kind, mask in masks_of(small, parameters)
        for component in _components(kind, mask, parameters)
    ]
    if not found:
        return []
    lower = np.array([c.lower for c in found], float)
    upper = np.array([c.upper for c in found], float)
    overlaps = box_overlaps(lower, upper)
    # What agrees is the same object seen by several masks; the first of a group stands for it.
    support = (overlaps > parameters.overlap).sum(1)
    kept = suppressed(np.argsort(-support, kind="stable"), overlaps, parameters.overlap, parameters.most)
    candidates = [_candidate(found[i], int(support[i]), factors, shape) for i in kept]
    return candidates + [_central(share, shape) for share in parameters.central]


def box_overlaps(
    lower: Float[np.ndarray, "n 3"], upper: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n n"]:
    """Intersection over union of each pair of boxes [lower, upper)."""
    sides = np.minimum(upper[:, None], upper) - np.maximum(lower[:, None], lower)
    common = sides.clip(min=0).prod(-1)
    sizes = (upper - lower).prod(-1)
    overlaps: np.ndarray = common / (sizes[:, None] + sizes - common)
    return overlaps


def suppressed(
    order: Sequence[int] | np.ndarray, overlaps: np.ndarray, limit: float, most: int | None = None
) -> list[int]:
    """Non-maximum suppression: the first `most` of `order` that overlap by at most `limit` with those kept before."""
    kept: list[int] = []
    for i in order:
        if most is not None and len(kept) == most:
            break
        if not kept or overlaps[i, kept].max() <= limit:
            kept.append(int(i))
    return kept


def _components(
    kind: Kind, mask: Bool[np.ndarray, "d h w"], parameters: CandidateParameters
) -> Iterator[_Component]:
    """The largest components of a mask, once bridges of a voxel's width are cut."""
    import cc3d
    from scipy import ndimage

    # Nothing survives an erosion along an axis of less than three voxels.
    cross = ndimage.generate_binary_structure(3, 1)
    cross = cross[tuple(slice(None) if size >= 3 else slice(1, 2) for size in mask.shape)]
    labels = cc3d.connected_components(ndimage.binary_opening(mask, cross), connectivity=6)
    statistics = cc3d.statistics(labels)
    counts = statistics["voxel_counts"].astype(np.int64)
    counts[0] = 0
    for label in np.argsort(-counts, kind="stable")[: parameters.largest]:
        if counts[label] < parameters.smallest:
            return
        where = statistics["bounding_boxes"][label]
        if all(s.stop - s.start >= EVERYWHERE * n for s, n in zip(where, mask.shape, strict=True)):
            continue
        yield _Component(kind, where, labels[where] == label)


def _candidate(component: _Component, support: int, factors: Voxel, shape: Voxel) -> Candidate:
    """A component in the voxels of the volume."""
    found = Box.measured(component.voxels)
    lower, upper = [], []
    bounds = zip(component.lower, found.lower, found.upper, factors, shape, strict=True)
    for start, a, b, factor, size in bounds:
        lower.append((start + a) * factor)
        upper.append(min((start + b) * factor, size))
    z_mid = min((component.lower[0] + found.z_mid) * factors[0] + factors[0] // 2, upper[0] - 1)
    box = Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), z_mid)
    return Candidate(box, component.kind, support)


def _central(share: float, shape: Voxel) -> Candidate:
    """The box about the volume's middle that spans a share of each axis, a voxel at least."""
    lower, upper = [], []
    for size in shape:
        inset = min(round(size * (1 - share) / 2), (size - 1) // 2)
        lower.append(inset)
        upper.append(size - inset)
    z_mid = (lower[0] + upper[0] - 1) // 2
    box = Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), z_mid)
    return Candidate(box, "central", 0)
