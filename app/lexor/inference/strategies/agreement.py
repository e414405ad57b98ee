"""What several masks of one target, each seen through a view of its own, agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lexor.geometry import Shape
from lexor.inference.merging import Answer
from lexor.inference.settings import SETTINGS
from lexor.inference.views import View


def agree(masks: Sequence[tuple[View, Tensor]], weights: Sequence[float], shape: Shape) -> Answer:
    """The mean of the masks' probabilities, as logits: positive where a voxel is in the target more likely than not.

    The masks stand for what the target may be, their weights for how likely each is. For the highest expected Dice
    the chance would have to be a little below even, if they were right in the mean; they are too large as a rule: 27
    cases of data/train end, by clicks alone, at a DSC of .806 with voxels of a chance above .45, of .817 with those
    above .5.

    Args:
        masks: at least one; the view and the logits (1, d, h, w) of its window.
        weights: of each, not negative; one at least is positive.
        shape: of the volume.
    """
    parts = [_cut(view, logits) for view, logits in masks]
    places = [view.footprint(shape) for view, _ in parts]
    where = tuple(
        slice(min(place[axis].start for place in places), max(place[axis].stop for place in places))
        for axis in range(3)
    )
    chance = torch.zeros([s.stop - s.start for s in where])
    total = float(sum(weights))
    for (view, logits), weight in zip(parts, weights, strict=True):
        place, values = view.write(logits, shape)
        here = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(place, where, strict=True))
        chance[here] += torch.sigmoid(values[0]) * (weight / total)
    heaviest, _ = masks[int(np.argmax(weights))]
    return Answer((where[0], where[1], where[2]), torch.logit(chance, eps=1e-4), shape, heaviest.step)


def _cut(view: View, logits: Tensor) -> tuple[View, Tensor]:
    """The part of a window around its mask; the window where there is none."""
    from scipy import ndimage

    hit = (logits[0] > SETTINGS.searching.least_logit).numpy()
    if not hit.any():
        return view, logits
    found = ndimage.find_objects(hit.view(np.uint8))[0]
    # One window voxel more on each side, since values between voxels are interpolated; and so many that the part
    # holds the centre of a voxel of the volume, though it were at the window's edge.
    more = [1 + math.ceil(1 / step) for step in view.step]
    low = [max(0, s.start - n) for s, n in zip(found, more, strict=True)]
    high = [min(size, s.stop + n) for s, n, size in zip(found, more, hit.shape, strict=True)]
    (z, y, x), (z_end, y_end, x_end) = low, high
    return view.part((z, y, x), (z_end, y_end, x_end)), logits[:, z:z_end, y:y_end, x:x_end]
