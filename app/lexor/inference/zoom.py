"""The second look: finer windows along the surface that the first look drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch

from lexor.geometry import Shape
from lexor.inference.merging import Answer
from lexor.inference.runner import Look, Runner
from lexor.inference.settings import Zoom
from lexor.inference.targets import Target
from lexor.inference.views import Triple, View
from lexor.inference.volume import Volume
from lexor.inference.windows import blending_weight, sliding_views


def refine(
    runner: Runner, volume: Volume, targets: Sequence[Target], answers: Mapping[int, Answer]
) -> dict[int, Answer]:
    """The answers of targets, by index, after a second look at those of which it is worth one (`Runner.zoom`)."""
    refined = dict(answers)
    zoom = runner.zoom
    if zoom is None:
        return refined
    looks: list[Look] = []
    steps: dict[int, Triple] = {}
    gain = runner.model.zoom_gain if zoom.gain is None else zoom.gain
    for target in targets:
        answer = refined[target.index]
        region = answer.extent(-zoom.margin)
        if region is None or max(answer.step) < gain:
            continue
        views, step = _fine_views(region, answer, zoom, runner.window)
        steps[target.index] = step
        looks += [Look(view, target, answer.read(view)) for view in views]
    # Neighbours in this order share a view: its encoding is computed once.
    looks.sort(key=lambda look: (look.view.lower, look.view.upper, look.target.index))
    weight = blending_weight(runner.window)[None]
    sums = {index: torch.zeros_like(refined[index].logits) for index in steps}
    weights = {index: torch.zeros_like(refined[index].logits) for index in steps}
    for look, logits in runner.logits(volume.voxels, looks):
        index = look.target.index
        where, values = look.view.write(torch.cat([logits, weight]), volume.shape)
        here, there = refined[index].overlap(where)
        sums[index][here] += values[0][there] * values[1][there]
        weights[index][here] += values[1][there]
    for index, total in weights.items():
        answer = refined[index]
        fine = torch.where(total > 0, sums[index].div_(total.clamp(min=1e-6)), answer.logits)
        refined[index] = replace(answer, logits=fine, step=steps[index])
    return refined


def _fine_views(
    region: tuple[Triple, Triple], answer: Answer, zoom: Zoom, window: Shape
) -> tuple[list[View], Triple]:
    """The windows worth a second look, at the finest step of which there are few enough."""
    factor = 1.0
    while True:
        step = (
            min(answer.step[0], max(1.0, factor)),
            min(answer.step[1], max(1.0, factor)),
            min(answer.step[2], max(1.0, factor)),
        )
        all_views = sliding_views(*region, step, window, answer.shape)
        undecided = (view for view in all_views if answer.undecided(view, zoom.margin))
        # Of a large target there are thousands: one too many is enough to know.
        views = list(islice(undecided, zoom.windows + 1))
        if len(views) <= zoom.windows or step == answer.step:
            return views[: zoom.windows], step
        factor *= 1.2
