"""The search for a target that only clicks point at: nobody has told its size.

It is looked at in several sizes, and with boxes of several sizes around its first click. The most promising mask
of each kind is looked at once more, with the box that the challenge would have measured on it: what a model knows
best is a box. A mask counts by what it promises and how well it explains the clicks; the answer is what these closer
looks agree on, after one more look at that. A click of the challenge is the
innermost voxel of the largest error; so the first one lies in the middle of the target, and the last one in the
middle of what the last answer had wrong. That tells the size when the last answer was far too small or too large.
When it was nearly right, it is also corrected as that of a target with a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cc3d
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lexor.geometry import Box, Clicks, Shape
from lexor.inference.framing import click_views, frame
from lexor.inference.merging import Answer
from lexor.inference.runner import Look, Runner, hard_logits, previous_logits
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies.agreement import agree
from lexor.inference.targets import Target
from lexor.inference.views import Triple, View, triple
from lexor.inference.volume import Volume
from lexor.inference.zoom import refine

TUNED = SETTINGS.searching


@dataclass(frozen=True)
class Hypothesis:
    """A mask of a target in a window, and what speaks for it.

    Attributes:
        look: how it was seen.
        logits: (1, d, h, w), of the window.
        score: the overlap with the truth that the model expects, 0..1, less what the clicks say against the mask.
    """

    look: Look
    logits: Tensor
    score: float

    @property
    def guessed(self) -> bool:
        """Whether it is of a first look with a guessed box."""
        return self.look.target.box is not None and self.look.previous is None

    @property
    def size(self) -> float:
        """Of the mask, in voxels of the volume."""
        z, y, x = self.look.view.step
        return float((self.logits > 0).sum()) * z * y * x

    def answer(self, shape: Shape) -> Answer:
        """The logits on the volume."""
        where, values = self.look.view.write(self.logits, shape)
        return Answer(where, values[0], shape, self.look.view.step)


def segment_searched(runner: Runner, volume: Volume, targets: Sequence[Target]) -> dict[int, Answer]:
    """Answers, by index, of targets that have clicks and no box."""
    answers = {}
    # One after the other: the looks at one fill a batch, and those of all would fill the memory.
    for target in targets:
        kept = _kept(target, volume.shape)
        answers[target.index] = kept or _found(runner, volume.voxels, target, volume.ratio)
    return refine(runner, volume, targets, answers)


def _kept(target: Target, shape: Shape) -> Answer | None:
    """The last answer, if it is as every click says: then nobody has corrected it, and it stays."""
    if target.previous is None or target.corrections:
        return None
    z, y, x = (slice(int(low), int(high)) for low, high in zip(target.lower, target.upper, strict=True))
    mask = torch.from_numpy(target.previous[z, y, x] == target.index)
    return Answer((z, y, x), hard_logits(mask.float()), shape, (1.0, 1.0, 1.0))


def _found(runner: Runner, volume: Tensor, target: Target, ratio: float) -> Answer:
    """What the closer looks at a target agree on; the best of the first, where those find nothing."""
    shape: Shape = (volume.shape[1], volume.shape[2], volume.shape[3])
    last = None if target.previous is None else torch.from_numpy(target.previous == target.index)[None]

    def look(looks: Sequence[Look]) -> list[Hypothesis]:
        return list(_candidates(runner, volume, looks, last))

    first = _best_first(look(_first_looks(target, shape, runner.window, ratio)))
    closer = [(c, _closer(target, c.answer(shape), runner.window, ratio)) for c in _most_promising(first)]
    seen = [(c, again) for c, again in closer if again is not None]
    if not seen:
        return first[0].answer(shape)
    after = look([again for _, again in seen])
    found = [_trusted(a, before) for a, (before, _) in zip(after, seen, strict=True)]
    closing = _closer(target, _agreed(found, shape), runner.window, ratio)
    found += look([] if closing is None else [closing])
    if last is not None and nearly_right(target):
        # As if the last answer's box had been given.
        boxed = replace(target, box=Box.measured(last[0].numpy()))
        [corrected] = look([_last_look(boxed, shape, runner.window, ratio)])
        found.append(_as_likely_as(found, corrected))
    return _agreed(found, shape)


def nearly_right(target: Target) -> bool:
    """Whether new clicks correct little of the last answer: all of them are near its surface."""
    if target.previous is None:
        return False
    last = target.previous == target.index
    reach = TUNED.near * ball_radius(float(np.count_nonzero(last)))
    for point in target.corrections:
        low = np.maximum(np.array(point) - int(reach), 0)
        around = last[tuple(slice(a, c + int(reach) + 1) for a, c in zip(low, point, strict=True))]
        away = np.argwhere(around != last[point]) + low - point
        if not (np.linalg.norm(away, axis=1) < reach).any():
            return False
    return True


def _best_first(candidates: Sequence[Hypothesis]) -> list[Hypothesis]:
    return sorted(candidates, key=lambda candidate: -candidate.score)


def _trusted(candidate: Hypothesis, before: Hypothesis) -> Hypothesis:
    """A closer look, which counts for less if it found another size than the look before, or that was a guess."""
    likeness = min(before.size, candidate.size) / max(before.size, candidate.size)
    score = (
        candidate.score
        * max(TUNED.least, likeness) ** TUNED.stable
        * (TUNED.guessed if before.guessed else 1)
    )
    return replace(candidate, score=score)


def _agreed(candidates: Sequence[Hypothesis], shape: Shape) -> Answer:
    """What candidates agree on, the more promising ones counting for more."""
    masks = [(candidate.look.view, candidate.logits) for candidate in candidates]
    return agree(masks, [candidate.score**TUNED.weight for candidate in candidates], shape)


def _as_likely_as(others: Sequence[Hypothesis], candidate: Hypothesis) -> Hypothesis:
    """A candidate that counts as much as others together."""
    return replace(candidate, score=sum(other.score**TUNED.weight for other in others) ** (1 / TUNED.weight))


def _most_promising(first: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Of first looks, best first, those that are followed by a closer one: the best of each kind."""
    guessed = [c for c in first if c.guessed]
    others = [c for c in first if not c.guessed and c.look.previous is None]
    return guessed[:1] + others[:1] + [c for c in first if c.look.previous is not None]


def _first_looks(target: Target, shape: Shape, window: Shape, ratio: float) -> list[Look]:
    """At what clicks point at: in views of several sizes, with boxes of several sizes, and at the last answer."""
    looks = [Look(view, target) for view in click_views(target.clicks, shape, window, ratio)]
    for box in dict.fromkeys(box_around(target.clicks, half, shape, ratio) for half in TUNED.boxes):
        view = frame(triple(box.lower), triple(box.upper), shape, window, ratio)
        looks.append(Look(view, replace(target, box=box)))
    if target.previous is not None:
        looks.append(_last_look(target, shape, window, ratio))
    return looks


def box_around(clicks: Clicks, half: int, shape: Shape, ratio: float) -> Box:
    """A box of a half size in pixels around the first foreground click (the first one, where none is), which holds
    all of them."""
    points = np.array(clicks.pointing)
    reach = np.array([max(1, round(half / ratio)), half, half])
    low = np.maximum(np.minimum(points[0] - reach, points.min(0)), 0)
    high = np.minimum(np.maximum(points[0] + reach, points.max(0)) + 1, shape)
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]), points[0, 0])


def measured_box(answer: Answer) -> Box:
    """The box of what was found as the challenge measures it: z of the whole, y and x of the middle slice.

    Raises:
        ValueError: nothing was found.
    """
    mask = (answer.logits > 0).numpy()
    if not mask.any():
        raise ValueError("nothing was found; there is no box to measure")
    box = Box.measured(mask)
    start = np.array([s.start for s in answer.where])
    (z, y, x), (z_end, y_end, x_end) = start + box.lower, start + box.upper
    return Box((z, y, x), (z_end, y_end, x_end), start[0] + box.z_mid)


def closer_view(clicks: Clicks, mask: Answer, window: Shape, ratio: float) -> tuple[View, Box] | None:
    """The view of a mask and the clicks, and the box that prompts it there. None where the mask is empty."""
    found = mask.extent()
    if found is None:
        return None
    points = np.array(clicks.points, dtype=float)
    low, high = np.minimum(found[0], points.min(0)), np.maximum(found[1], points.max(0) + 1)
    return frame(triple(low), triple(high), mask.shape, window, ratio), measured_box(mask)


def _closer(target: Target, mask: Answer, window: Shape, ratio: float) -> Look | None:
    """A closer look at a mask. None where it is empty."""
    closer = closer_view(target.clicks, mask, window, ratio)
    if closer is None:
        return None
    view, box = closer
    return Look(view, replace(target, box=box), mask.read(view))


def _last_look(target: Target, shape: Shape, window: Shape, ratio: float) -> Look:
    """A look at a target's last answer."""
    view = frame(target.lower, target.upper, shape, window, ratio)
    return Look(view, target, previous_logits(target, view))


def _candidates(
    runner: Runner, volume: Tensor, looks: Sequence[Look], last: Tensor | None
) -> Iterator[Hypothesis]:
    """What each look at a target finds; `last` is its last answer, (1, D, H, W), if there is one."""
    for look, logits, quality in runner.masks(volume, looks):
        before = None if last is None else look.view.read(last)[0].numpy() > 0.5
        mask = logits[0].numpy() > 0
        fits = plausibility(look.target.clicks, look.view, mask, before)
        score = quality * max(TUNED.least, fits[0]) ** TUNED.first * max(TUNED.least, fits[1]) ** TUNED.last
        # A target is most often in one piece: on 41 labels of data/train the fifth click then leads to a DSC of .743,
        # not .728.
        score /= clicked_parts(look.target.clicks, look.view, mask)
        yield Hypothesis(look, logits, score)


def plausibility(
    clicks: Clicks,
    view: View,
    mask: Bool[np.ndarray, "d h w"],
    before: Bool[np.ndarray, "d h w"] | None = None,
) -> tuple[float, float]:
    """How well a mask explains the first click and the last one, 0..1: the evaluator clicks the middle of an error.

    The first click is the more central in the mask the better. The last one should be central in what the mask
    changes of the last answer; and that should reach as far around the click as the last answer lets it, whose
    surface most errors end at, unless that is far from the click: then the error may be a part of its own.
    They are 1 where they say nothing.

    Args:
        clicks: at least one.
        view: through which all is seen.
        mask: in the view's window.
        before: the last answer there, if there is one.
    """
    first = last = 1.0
    if clicks.foreground[0]:
        first = centrality(mask, _voxel(view, clicks.points[0]), view.step)
    if before is not None:
        place, wanted = _voxel(view, clicks.points[-1]), clicks.foreground[-1]
        if mask[place] != wanted or before[place] == wanted:
            return first, 0.0
        depth, most = depth_of(mask != before, place, view.step)
        last = depth / most
        if before.any() and not before.all():
            right = (np.argwhere(before == wanted) - place) * view.step
            reach = float(np.linalg.norm(right, axis=1).min())
            if reach < TUNED.apart * ball_radius(float(before.sum() * np.prod(view.step))):
                last *= min(1.0, depth / reach) ** TUNED.reach
    return first, last


def ball_radius(volume: float) -> float:
    """Of the ball of a volume, in the same unit."""
    return float((volume * 3 / (4 * np.pi)) ** (1 / 3))


def clicked_parts(clicks: Clicks, view: View, mask: Bool[np.ndarray, "d h w"]) -> int:
    """In how many 26-connected parts of a mask foreground clicks are, at least 1; one outside of it is its own.

    Args:
        clicks: at least one.
        view: through which the mask is seen.
        mask: in the view's window.
    """
    parts = cc3d.connected_components(mask, connectivity=26)
    places = {
        _voxel(view, point) for point, wanted in zip(clicks.points, clicks.foreground, strict=True) if wanted
    }
    held = {int(parts[place]) for place in places} - {0}
    return max(1, len(held) + sum(not mask[place] for place in places))


def centrality(part: Bool[np.ndarray, "d h w"], place: tuple[int, int, int], step: Triple) -> float:
    """Depth of a voxel in a part over that of its innermost voxel, 0..1; 0 outside of the part.

    Args:
        step: size of a voxel, (z, y, x).
    """
    if not part[place]:
        return 0.0
    depth, most = depth_of(part, place, step)
    return depth / most


def depth_of(
    part: Bool[np.ndarray, "d h w"], place: tuple[int, int, int], step: Triple
) -> tuple[float, float]:
    """Distance of a voxel of a part, and of its innermost voxel, to what is outside; so is what is past the window.

    Args:
        step: size of a voxel, (z, y, x).
    """
    from scipy import ndimage

    where = ndimage.find_objects(part.view(np.uint8))[0]
    depth = ndimage.distance_transform_edt(np.pad(part[where], 1), sampling=step)
    z, y, x = (at - s.start + 1 for at, s in zip(place, where, strict=True))
    return float(depth[z, y, x]), float(depth.max())


def _voxel(view: View, point: Sequence[int]) -> tuple[int, int, int]:
    """The window's voxel nearest to a voxel of the volume."""
    at = view.points_to_window(torch.tensor(point, dtype=torch.float32)).round().long().tolist()
    z, y, x = (min(max(i, 0), n - 1) for i, n in zip(at, view.shape, strict=True))
    return z, y, x
