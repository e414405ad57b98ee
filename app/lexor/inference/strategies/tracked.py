"""Following a long object from the slice on which its box was measured to both of its ends.

The challenge measures a box's y and x on one slice only, and a spinal cord or a vessel leaves such a box within a few
slices. So the box is moved along with what it holds: from slice to slice, by the shift that keeps its surroundings
most alike (normalised cross-correlation, as in template tracking). The object is then segmented in pieces, each
prompted with the box as it stands on the piece's middle slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from lexor.geometry import Box, Shape
from lexor.inference.framing import frame
from lexor.inference.merging import Answer, Slices
from lexor.inference.runner import Look, Runner, hard_logits, previous_logits
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies.boxed import finished
from lexor.inference.targets import Target
from lexor.inference.views import Triple, triple
from lexor.inference.volume import Volume

# The logit of what no piece looked at.
OUTSIDE = -6.0

TUNED = SETTINGS.tracking


def elongation(box: Box, ratio: float) -> float:
    """Length along z over width in-plane, both in pixels; `ratio` is slice distance over pixel size."""
    depth, height, width = box.shape
    return depth * ratio / float(np.sqrt(height * width))


def piece_length(height: float, width: float, ratio: float) -> int:
    """Slices of a piece of an object that is `height` x `width` pixels wide."""
    return max(TUNED.piece_slices, round(TUNED.piece_widths * float(np.sqrt(height * width)) / ratio))


def prolonged(box: Box, length: int) -> Box:
    """The box as a piece's prompt: it goes on past the piece on both sides of its measured slice."""
    reach = round(TUNED.prompt_reach * length)
    return Box((box.z_mid - reach, *box.lower[1:]), (box.z_mid + reach + 1, *box.upper[1:]), box.z_mid)


def track(volume: UInt8[np.ndarray, "D H W"], box: Box, ratio: float) -> Float[np.ndarray, "n 2"]:
    """Where the middle of the box is on each of its slices: (y, x) in voxel edges, float64.

    It keeps up with what moves by three quarters of a unit a slice (see above) and lags behind what is faster.

    Args:
        volume: the image.
        box: inside of it; `z_mid` is the slice where its own y and x hold.
        ratio: slice distance over pixel size: an object at 45 degrees moves by as many pixels a slice.
    """
    first, last = box.lower[0], box.upper[0]
    middle = np.array([(box.lower[axis] + box.upper[axis]) / 2 for axis in (1, 2)])
    unit = max(1.0, float(np.sqrt(box.shape[1] * box.shape[2])) / 6, ratio)
    far = (TUNED.half_width + TUNED.step_reach) * TUNED.steps
    offsets = np.arange(-far, far + 1) * unit / TUNED.steps
    profile = np.exp(
        -((np.arange(-TUNED.half_width, TUNED.half_width + 1) / (0.7 * TUNED.half_width)) ** 2) / 2
    )
    weight = np.outer(profile, profile).ravel()
    weight /= weight.sum()
    shifts = np.arange(-TUNED.step_reach * TUNED.steps, TUNED.step_reach * TUNED.steps + 1) / TUNED.steps
    moves = np.stack(np.meshgrid(shifts, shifts, indexing="ij"), -1).reshape(-1, 2)
    still = len(moves) // 2
    cost = TUNED.penalty * (moves**2).sum(1)
    centres = np.tile(middle, (last - first, 1))
    for way in (1, -1):
        centre = middle
        template = _surroundings(volume, box.z_mid, centre, offsets, unit)[still]
        for z in range(box.z_mid + way, last if way > 0 else first - 1, way):
            found = _surroundings(volume, z, centre, offsets, unit)
            best = int(np.argmax(_correlation(template, found, weight) - cost))
            centre = np.clip(centre + moves[best] * unit, 0, volume.shape[1:])
            template = TUNED.memory * template + (1 - TUNED.memory) * found[best]
            centres[z - first] = centre
    return centres


def _surroundings(
    volume: np.ndarray, z: int, centre: np.ndarray, offsets: np.ndarray, unit: float
) -> Float[np.ndarray, "moves samples"]:
    """Every patch around (y, x) `centre` that a move leads to, sampled each `unit`, smoothed; edges repeated."""
    from scipy import ndimage

    margin = 3 * unit + 1
    sides = []
    for axis in range(2):
        low = int(np.floor(centre[axis] + offsets[0] - margin))
        high = int(np.ceil(centre[axis] + offsets[-1] + margin))
        size = volume.shape[axis + 1]
        sides.append(slice(min(max(low, 0), size - 1), max(min(high, size), 1)))
    rows, columns = sides
    # Neighbouring slices steady the noise.
    below, here, above = (volume[k][rows, columns] for k in (max(z - 1, 0), z, min(z + 1, len(volume) - 1)))
    plane = 0.25 * below + 0.5 * here + 0.25 * above
    plane = ndimage.gaussian_filter(plane.astype(np.float32), TUNED.smoothing * unit)
    points = np.meshgrid(*(centre[a] + offsets - 0.5 - sides[a].start for a in range(2)), indexing="ij")
    fine = ndimage.map_coordinates(plane, points, order=1, mode="nearest")
    length = 2 * TUNED.half_width * TUNED.steps + 1
    patches = sliding_window_view(fine, (length, length))[..., :: TUNED.steps, :: TUNED.steps]
    found: np.ndarray = patches.reshape(-1, (2 * TUNED.half_width + 1) ** 2)
    return found


def _correlation(
    template: np.ndarray, patches: np.ndarray, weight: np.ndarray
) -> Float[np.ndarray, " moves"]:
    """Weighted normalised cross-correlation of a template with each patch; 0 where either is constant."""
    template = template - template @ weight
    patches = patches - (patches @ weight)[:, None]
    power = (template**2 @ weight) * (patches**2 @ weight)
    likeness: np.ndarray = (patches @ (weight * template)) / np.sqrt(power + 1e-3)
    return likeness


def pieces(box: Box, centres: np.ndarray, length: int) -> list[Box]:
    """Boxes of `length` slices that cover the box's z range and overlap by half, each as it stands on its z_mid."""
    first, last = box.lower[0], box.upper[0]
    count = max(1, -(-2 * (last - first - length) // length) + 1)
    starts = [round(first + i * max(0, last - first - length) / max(1, count - 1)) for i in range(count)]
    found = []
    for start in starts:
        stop = min(start + length, last)
        z = (start + stop) // 2
        _, height, width = box.shape
        y, x = (round(float(c) - n / 2) for c, n in zip(centres[z - first], (height, width), strict=True))
        found.append(Box((start, y, x), (stop, y + height, x + width), z))
    return found


def segment_tracked(runner: Runner, volume: Volume, targets: Sequence[Target]) -> dict[int, Answer]:
    """Answers, by index, of targets whose box has the exact z range, segmented in pieces along their tracks.

    What no new click corrects leans towards the last answer.
    """
    shape, ratio = volume.shape, volume.ratio
    looks: list[Look] = []
    owners: dict[int, tuple[int, Box]] = {}
    parts: dict[int, list[tuple[Slices, Tensor, Tensor]]] = {target.index: [] for target in targets}
    steps: dict[int, Triple] = {}
    for target in targets:
        assert target.box is not None
        depth, height, width = target.box.shape
        length = max(piece_length(height, width, ratio), -(-2 * depth // (TUNED.most_pieces + 1)))
        for piece in pieces(target.box, track(volume.voxels[0].numpy(), target.box, ratio), length):
            view = frame(triple(piece.lower), triple(piece.upper), shape, runner.window, ratio)
            steps[target.index] = view.step
            if target.previous is not None and not _clicked(target, piece):
                # What nobody corrected stays: seen anew it would drift with every round.
                where = view.footprint(shape)
                last = torch.from_numpy(target.previous[where] == target.index).float()
                parts[target.index].append(_part(where, hard_logits(last), piece))
                continue
            prompted = replace(target, box=prolonged(piece, length))
            looks.append(Look(view, prompted, previous_logits(target, view)))
            owners[id(looks[-1])] = (target.index, piece)
    for look, logits in runner.logits(volume.voxels, looks):
        index, piece = owners[id(look)]
        where, values = look.view.write(logits, shape)
        parts[index].append(_part(where, values[0], piece))
    return {
        target.index: finished(_joined(parts[target.index], shape, steps[target.index]), target)
        for target in targets
    }


def _clicked(target: Target, piece: Box) -> bool:
    """Whether one of a target's clicks is on a slice of a piece. Without any click, all of it is in question."""
    points = target.clicks.points
    return not points or any(piece.lower[0] <= z < piece.upper[0] for z, _, _ in points)


def _part(where: Slices, values: Tensor, piece: Box) -> tuple[Slices, Tensor, Tensor]:
    """A piece's logits on its own slices, and their weight by slice: surest in the middle."""
    inside = slice(max(where[0].start, piece.lower[0]), min(where[0].stop, piece.upper[0]))
    values = values[inside.start - where[0].start : inside.stop - where[0].start]
    z = torch.arange(inside.start, inside.stop) + 0.5
    half = (piece.upper[0] - piece.lower[0]) / 2
    weight = 1 - 0.9 * (z - piece.lower[0] - half).abs() / half
    return (inside, where[1], where[2]), values, weight[:, None, None]


def _joined(parts: Sequence[tuple[Slices, Tensor, Tensor]], shape: Shape, step: Triple) -> Answer:
    """The weighted mean of the pieces wherever they looked."""
    low = [min(where[axis].start for where, _, _ in parts) for axis in range(3)]
    high = [max(where[axis].stop for where, _, _ in parts) for axis in range(3)]
    size = [stop - start for start, stop in zip(low, high, strict=True)]
    total, sum_of_weights = torch.zeros(size), torch.zeros(size)
    for where, logits, weight in parts:
        here = tuple(slice(s.start - start, s.stop - start) for s, start in zip(where, low, strict=True))
        total[here] += logits * weight
        sum_of_weights[here] += weight
    mean = torch.where(sum_of_weights > 0, total / sum_of_weights.clamp(min=1e-6), OUTSIDE)
    z, y, x = (slice(start, stop) for start, stop in zip(low, high, strict=True))
    return Answer((z, y, x), mean, shape, step)
