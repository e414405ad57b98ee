"""How a target is looked at: each goes to one strategy, (runner, volume, targets) -> answers by index.

A strategy owns its own zoom, and what it does with the last answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lexor.inference.merging import Answer
from lexor.inference.runner import Runner
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies.boxed import first_view, segment_boxed
from lexor.inference.strategies.searched import segment_searched
from lexor.inference.strategies.tracked import elongation, segment_tracked
from lexor.inference.targets import Target
from lexor.inference.volume import Volume

Strategy = Callable[[Runner, Volume, Sequence[Target]], dict[int, Answer]]


def strategy_of(runner: Runner, volume: Volume, target: Target) -> Strategy:
    """The strategy that suits a target.

    A model that sees the whole volume at once needs no other than the first. Else a long box of the challenge, whose
    y and x hold on one slice, is tracked along z, and what only clicks point at is searched for.
    """
    if runner.model.zoom_out == "object":
        if target.box is None and target.clicks.points:
            return segment_searched
        long = SETTINGS.tracking.elongation
        if target.exact_z and target.box is not None and elongation(target.box, volume.ratio) >= long:
            return segment_tracked
    return segment_boxed


def most_voxels(runner: Runner, volume: Volume, target: Target) -> int:
    """At most so many voxels are looked at for a target."""
    if strategy_of(runner, volume, target) is not segment_boxed:
        return math.prod(volume.shape)
    view = first_view(runner, target, volume.shape, volume.ratio)
    return math.prod(s.stop - s.start for s in view.footprint(volume.shape))
