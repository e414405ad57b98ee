"""The click that the challenge's evaluator would give next: the middle of the largest error.

Source: CVPR25_iter_eval.py (github JunMa11/CVPR-MedSegFMCompetition, commit 748e862), its path without a GPU.
"""

from __future__ import annotations

import math
from typing import Final

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Integer

from lexor.geometry import Voxel, extent

# A voxel, and whether it is said to belong to the class.
Click = tuple[Voxel, bool]

# Every draw among equally deep voxels starts from this seed anew.
TIE_SEED: Final = 42
# Crops of more voxels than this are halved on every axis before their distances are taken.
LARGE_CROP: Final = 60_000_000


def next_click(
    prediction: Bool[np.ndarray, "D H W"],
    truth: Bool[np.ndarray, "D H W"],
    large_crop: int = LARGE_CROP,
    rng: np.random.Generator | None = None,
) -> Click | None:
    """The click on one class's mask; None where the mask is perfect.

    Of the 26-connected parts of the error the largest is taken, the first in raster order of several; of its
    voxels one that is farthest from the part's outside. It is a foreground click where the truth has the class.

    Args:
        large_crop: see `LARGE_CROP`; tests make it smaller.
        rng: draws among equally deep voxels; None: as the evaluator does, alike each time.
    """
    wrong = prediction != truth
    where = extent(wrong)
    if where is None:
        return None
    parts = cc3d.connected_components(np.ascontiguousarray(wrong[where]).view(np.uint8), connectivity=26)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    component = parts == sizes.argmax()
    inner = extent(component)
    assert inner is not None
    depth = inside_distance(component[inner], large_crop)
    deepest = np.argwhere(depth == depth.max())
    if rng is None:
        # A generator of the same stream as their np.random.seed(42), without touching the global one.
        chosen = deepest[np.random.RandomState(TIE_SEED).choice(len(deepest))]
    else:
        chosen = deepest[rng.integers(len(deepest))]
    z, y, x = (int(i) + a.start + b.start for i, a, b in zip(chosen, inner, where, strict=True))
    return (z, y, x), bool(truth[z, y, x])


def next_clicks(
    labels: Integer[np.ndarray, "D H W"], truth: Integer[np.ndarray, "D H W"]
) -> dict[int, Click | None]:
    """The click of every label that the truth holds, by label in rising order; see `next_click`."""
    return {label: next_click(labels == label, truth == label) for label in labels_in(truth)}


def labels_in(truth: Integer[np.ndarray, "D H W"]) -> list[int]:
    """The labels of a volume in rising order, without the background."""
    return [int(label) for label in np.unique(truth) if label != 0]


def inside_distance(
    component: Bool[np.ndarray, "d h w"], large_crop: int = LARGE_CROP
) -> Float[np.ndarray, "d h w"]:
    """Distance in voxels from each voxel of a part to the nearest one outside of it; 0 outside.

    Args:
        component: cropped to the part. Around it a quarter of its size, but at least one voxel, counts as
            outside, also where the volume ends.
        large_crop: see `LARGE_CROP`; past it, blocks of 2x2x2 voxels share the distance, in blocks, of a
            block that holds any of the part.
    """
    from scipy.ndimage import distance_transform_edt

    margin = [max(size // 4, 1) for size in component.shape]
    if math.prod(size + 2 * n for size, n in zip(component.shape, margin, strict=True)) <= large_crop:
        # Of what is outside, the nearest voxel is never farther off.
        margin = [1, 1, 1]
        distance = distance_transform_edt(np.pad(component, 1))
    else:
        distance = distance_transform_edt(_halved(np.pad(component, [(n, n) for n in margin])))
        for axis in range(3):
            distance = distance.repeat(2, axis)
    z, y, x = (slice(n, n + size) for n, size in zip(margin, component.shape, strict=True))
    inside: np.ndarray = distance[z, y, x] * component
    return inside


def _halved(mask: Bool[np.ndarray, "d h w"]) -> Bool[np.ndarray, "e i j"]:
    """Blocks of 2x2x2 voxels: whether any is set. An odd axis is continued by one voxel that is not."""
    even = np.pad(mask, [(0, size % 2) for size in mask.shape])
    depth, height, width = (size // 2 for size in even.shape)
    halved: np.ndarray = np.any(even.reshape(depth, 2, height, 2, width, 2), axis=(1, 3, 5))
    return halved
