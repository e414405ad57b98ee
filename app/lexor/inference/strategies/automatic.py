"""Automatic targets: candidates segmented cheaply, ranked by what came of them, the best of them kept.

Each candidate's box is shown to the model once, and its mask judged: by the overlap that the model expects of it, by
whether it stays the same under other thresholds, whether it is what the box asked for, whether it ends inside of what
was looked at, and by its size. The best get a box measured on their own mask, and a second look. What is chosen goes
to the `Predictor` as a box like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cc3d
import numpy as np
import torch
from torch import Tensor

from lexor.geometry import Box, Shape
from lexor.inference.framing import frame, in_plane_ratio
from lexor.inference.runner import Look, Runner, choose_device
from lexor.inference.settings import SETTINGS, Ranking
from lexor.inference.targets import AutomaticBox, box_target
from lexor.inference.views import View
from lexor.io.case import Case
from lexor.models.factory import create_model
from lexor.prompting import CandidateParameters, IntensityParameters, auto_prompt, propose
from lexor.prompting.candidates import box_overlaps
from lexor.prompting.reduction import block_means, reduction_factors

# Of a larger volume, a reduced one is looked at: reading dozens of large views would take longer than the model.
LOOKED_AT = 6_000_000


@dataclass(frozen=True)
class _Seen:
    """A candidate and what the model made of it.

    Attributes:
        box: the prompt.
        kind: where the first prompt came from.
        view: what was looked at.
        logits: (1, d, h, w) of the view.
        voxels: of the mask, in voxels of the volume.
        quality: the overlap with the truth that the model expects.
        measured: the box of the mask's main part as the challenge measures boxes; None where there is no mask.
        score: of `score_of`.
    """

    box: Box
    kind: str
    view: View
    logits: Tensor
    voxels: float
    quality: float
    measured: Box | None
    score: float


def finder(runner: Runner, case: Case, device: str) -> Callable[[int], list[AutomaticBox]] | None:
    """A function that finds so many automatic boxes in a case; None where the model does not look at boxes.

    A model that sees the whole volume at once is not asked about dozens of boxes: Algorithm 1 serves it.
    """
    if runner.model.zoom_out != "object":
        return None
    return lambda count: automatic_boxes(runner, case, count, device)


def automatic_boxes(
    runner: Runner,
    case: Case,
    top: int = 1,
    device: str = "cpu",
    parameters: CandidateParameters | None = None,
    ranking: Ranking | None = None,
) -> list[AutomaticBox]:
    """Boxes for a case that comes without prompts, best first.

    Args:
        runner: a model that looks at boxes (`zoom_out` "object").
        case: its prompts are not read.
        top: at most so many, >= 1.
        device: where Algorithm 1 is computed, whose box is one of the candidates.
        parameters: of the candidates.
        ranking: how they are judged.

    Returns:
        At least one; where nothing stands out, the box of Algorithm 1, which of a constant volume is all of it.
    """
    ranking = ranking or SETTINGS.ranking
    ratio = in_plane_ratio(case.spacing)
    (fallback,) = auto_prompt(case.volume, device=device)
    candidates = propose(case.volume, ratio, parameters)
    if not candidates:
        return [AutomaticBox(fallback, "intensity")]
    shape: Shape = (case.volume.shape[0], case.volume.shape[1], case.volume.shape[2])
    factors = reduction_factors(shape, LOOKED_AT, ratio)
    ratio *= factors[0] / factors[1]
    boxes = [(c.box, str(c.kind)) for c in candidates] + [(fallback, "intensity")]
    prompts = [(_reduced(box, factors), kind) for box, kind in boxes]
    volume = torch.from_numpy(np.rint(block_means(case.volume, factors)).astype(np.uint8))[None]
    seen = list(_looks(runner, volume, prompts, ratio, ranking))
    again = islice(_distinct(seen, ranking.overlap), max(ranking.second_looks, top))
    better = [(s.measured, s.kind) for s in again if s.measured is not None and s.measured != s.box]
    seen += _looks(runner, volume, better, ratio, ranking)
    chosen = list(islice(_distinct(seen, ranking.overlap), top))
    if not chosen:  # the model draws nothing in any of the boxes
        return [AutomaticBox(fallback, "intensity")]
    return [AutomaticBox(_restored(s.box, factors, shape), s.kind, s.quality) for s in chosen]


def boxes_of(
    case: Case,
    method: str = "auto",
    model: str = "mobilenet3d",
    device: str = "auto",
    top: int = 1,
    intensity: IntensityParameters | None = None,
    candidates: CandidateParameters | None = None,
) -> list[AutomaticBox]:
    """The automatic boxes of a case as `lexor prompt` prints them, best first.

    Args:
        method: "auto", or "intensity", which needs no model.
        model: a name of `list_models()`.
        device: "auto", "cpu" or "cuda".

    Raises:
        WeightsError: the model's weights are missing, damaged or another model's.
        ValueError: there is no such model or device, or the model does not look at boxes.
    """
    if method == "intensity":
        boxes = auto_prompt(case.volume, top=top, device=device, parameters=intensity)
        return [AutomaticBox(box, "intensity") for box in boxes]
    runner = Runner(create_model(model, weights="bundled"), choose_device(device))
    if runner.model.zoom_out != "object":
        raise ValueError(f"{model}: sees whole volumes, not boxes, and ranks none; give --method intensity")
    # Algorithm 1 needs CuPy on a GPU; without it, it is as exact on the CPU.
    return automatic_boxes(runner, case, top, "cpu" if runner.device.type == "cpu" else "auto", candidates)


def score_of(
    logits: Tensor, quality: float, agreement: float, share: float, middle: float, ranking: Ranking
) -> float:
    """How much speaks for a mask, 0..1; 0 where there is none.

    Args:
        logits: (1, d, h, w) of the window.
        quality: the overlap with the truth that the model expects, 0..1.
        agreement: overlap of the prompt's box with the mask's.
        share: of the volume's voxels that the mask has.
        middle: `middleness` of the mask's box.
    """
    mask = logits > 0
    total = int(mask.sum())
    if total == 0:
        return 0.0
    wide = int((logits > -ranking.margin).sum())
    stability = int((logits > ranking.margin).sum()) / wide
    inner = int(mask[:, 1:-1, 1:-1, 1:-1].sum())
    return float(
        quality**ranking.quality
        * stability**ranking.stability
        * agreement**ranking.agreement
        * share**ranking.size
        * (inner / total) ** ranking.ending
        * middle**ranking.middle
    )


def _looks(
    runner: Runner, volume: Tensor, prompts: Sequence[tuple[Box, str]], ratio: float, ranking: Ranking
) -> Iterator[_Seen]:
    """What the model makes of each box."""
    shape: Shape = (volume.shape[1], volume.shape[2], volume.shape[3])
    targets = [box_target(i, AutomaticBox(box, kind)) for i, (box, kind) in enumerate(prompts)]
    looks = [Look(frame(t.lower, t.upper, shape, runner.window, ratio), t) for t in targets]
    for look, logits, quality in runner.masks(volume, looks):
        box, kind = prompts[look.target.index]
        voxels = float((logits > 0).sum()) * float(np.prod(look.view.step))
        measured = _measured((logits[0] > 0).numpy(), look.view, shape)
        agreement = 0.0 if measured is None else box_overlap(box, measured)
        middle = 0.0 if measured is None else middleness(measured, shape)
        share = min(1.0, voxels / volume.numel())
        score = score_of(logits, quality, agreement, share, middle, ranking)
        yield _Seen(box, kind, look.view, logits, voxels, quality, measured, score)


def _reduced(box: Box, factors: tuple[int, int, int]) -> Box:
    """A box of the volume in the voxels of the reduced one, those that it touches."""
    z, y, x = (low // factor for low, factor in zip(box.lower, factors, strict=True))
    z_end, y_end, x_end = (-(-high // factor) for high, factor in zip(box.upper, factors, strict=True))
    return Box((z, y, x), (z_end, y_end, x_end), box.z_mid // factors[0])


def _restored(box: Box, factors: tuple[int, int, int], shape: Shape) -> Box:
    """The inverse of `_reduced`, to the rounding."""
    z, y, x = (low * factor for low, factor in zip(box.lower, factors, strict=True))
    z_end, y_end, x_end = (
        min(high * factor, size) for high, factor, size in zip(box.upper, factors, shape, strict=True)
    )
    z_mid = min(box.z_mid * factors[0] + factors[0] // 2, z_end - 1)
    return Box((z, y, x), (z_end, y_end, x_end), z_mid)


def _distinct(seen: Sequence[_Seen], limit: float) -> Iterator[_Seen]:
    """Those with a mask, best first, without what is much the same as a better one."""
    kept: list[_Seen] = []
    for one in sorted(seen, key=lambda s: -s.score):
        if one.score > 0 and all(_mask_overlap(one, other) <= limit for other in kept):
            kept.append(one)
            yield one


def _mask_overlap(one: _Seen, other: _Seen) -> float:
    """Intersection over union of two masks, each in its own window: counted in the finer of the two."""
    if np.prod(one.view.step) > np.prod(other.view.step):
        one, other = other, one
    # The other's view in the finer window's coordinates: the window is its volume.
    lower, upper = (
        one.view.edges_to_window(torch.tensor(edge, dtype=torch.float64)).tolist()
        for edge in (other.view.lower, other.view.upper)
    )
    there = View((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), other.view.shape)
    if any(s.stop <= s.start for s in there.footprint(one.view.shape)):
        return 0.0
    where, values = there.write(other.logits, one.view.shape)
    both = (values[0] > 0) & (one.logits[0][where] > 0)
    common = float(both.sum()) * float(np.prod(one.view.step))
    return common / max(one.voxels + other.voxels - common, 1e-9)


def _measured(mask: np.ndarray, view: View, shape: Shape) -> Box | None:
    """The box of a window's mask in the volume, its y and x measured on the middle slice of the main part."""
    labels = cc3d.connected_components(mask, connectivity=6)
    counts = np.bincount(labels.ravel())
    if len(counts) == 1:
        return None
    main = Box.measured(labels == int(counts[1:].argmax()) + 1)
    lower, upper = [], []
    for axis in range(3):
        step, start = view.step[axis], view.lower[axis]
        low = min(max(round(start + main.lower[axis] * step), 0), shape[axis] - 1)
        high = min(round(start + main.upper[axis] * step), shape[axis])
        lower.append(low)
        upper.append(max(high, low + 1))
    z_mid = round(view.lower[0] + (main.z_mid + 0.5) * view.step[0] - 0.5)
    z_mid = min(max(z_mid, lower[0]), upper[0] - 1)
    return Box((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), z_mid)


def box_overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    lower, upper = np.array([one.lower, other.lower], float), np.array([one.upper, other.upper], float)
    return float(box_overlaps(lower, upper)[0, 1])


def middleness(box: Box, shape: Shape) -> float:
    """How near a box's centre is to the volume's: 1 there, falling along each axis almost to 0 at its ends."""
    away = np.abs((np.array(box.lower) + box.upper) / shape - 1)
    return float(np.prod(1 - away.clip(0, 0.99)))
