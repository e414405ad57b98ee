"""Targets whose place and size are known, from a box or a last answer: one look at each, and a second, finer one."""

from __future__ import annotations

from collections.abc import Sequence

from lexor.geometry import Shape
from lexor.inference.framing import frame
from lexor.inference.merging import Answer
from lexor.inference.runner import Look, Runner, previous_logits
from lexor.inference.strategies.holding import hold
from lexor.inference.targets import Target
from lexor.inference.views import View, triple
from lexor.inference.volume import Volume
from lexor.inference.zoom import refine


def segment_boxed(runner: Runner, volume: Volume, targets: Sequence[Target]) -> dict[int, Answer]:
    """Answers by index; what no new click corrects leans towards the last one."""
    views = [first_view(runner, target, volume.shape, volume.ratio) for target in targets]
    looks = [Look(view, t, previous_logits(t, view)) for view, t in zip(views, targets, strict=True)]
    answers = {}
    for look, logits in runner.logits(volume.voxels, looks):
        where, values = look.view.write(logits, volume.shape)
        answers[look.target.index] = Answer(where, values[0], volume.shape, look.view.step)
    answers = refine(runner, volume, targets, answers)
    return {target.index: finished(answers[target.index], target) for target in targets}


def first_view(runner: Runner, target: Target, shape: Shape, ratio: float) -> View:
    """What the first look at a target sees: the whole volume, or the target's own surroundings."""
    if runner.model.zoom_out == "volume":
        return View((0.0, 0.0, 0.0), triple(shape), runner.window)
    return frame(target.lower, target.upper, shape, runner.window, ratio)


def finished(answer: Answer, target: Target) -> Answer:
    """An answer that leans towards the last one, on the slices that an exact box holds."""
    answer = hold(answer, target)
    if target.exact_z and target.box is not None:
        answer.keep_slices(target.box.lower[0], target.box.upper[0])
    return answer
