"""The one inference path: zoom-out, zoom-in, merge."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lexor.inference.framing import frame, in_plane_ratio
from lexor.inference.merging import Answer, Merger, absent, honour_clicks
from lexor.inference.probability import ProbabilityMap
from lexor.inference.runner import Look, Runner, choose_device, previous_logits
from lexor.inference.settings import SETTINGS
from lexor.inference.strategies.automatic import finder
from lexor.inference.strategies.holding import hold
from lexor.inference.strategies.searched import search
from lexor.inference.strategies.tracked import elongation, follow
from lexor.inference.targets import PromptMode, Target, check_mode, resolve_targets
from lexor.inference.views import Shape, Triple, View, triple
from lexor.inference.windows import blending_weight, sliding_views
from lexor.io.case import Case
from lexor.models.factory import create_model
from lexor.models.segmenter import Segmenter

# Voxels that the answers held at a time may have together, if they are several: some 20 bytes each.
MOST_HELD = 1 << 27


@dataclass(frozen=True)
class ZoomIn:
    """When and how finely the second look is taken.

    Attributes:
        gain: it is taken where the first look's step exceeds the finest one by this factor on some axis;
            None: by the model's own `zoom_gain`.
        windows: at most this many windows a target; more, and the step grows until they fit.
        margin: logits nearer to 0 than this count as undecided; only windows that hold such voxels, or both
            sides of the surface, are looked at again.
    """

    gain: float | None = None
    windows: int = 24
    margin: float = 1.0


@dataclass(frozen=True)
class Prediction:
    """The answer to a case.

    Attributes:
        labels: (D, H, W), uint8 or uint16, 0 background, class i from prompt entry i.
        targets: what each class was segmented from.
        warnings: one line each.
        seconds: wall-clock time spent.
        maps: of each class, if they were asked for; see `probability`.
    """

    labels: np.ndarray
    targets: tuple[Target, ...]
    warnings: tuple[str, ...]
    seconds: float
    maps: tuple[ProbabilityMap, ...] = ()

    @property
    def n_classes(self) -> int:
        """The highest class; a last answer may have left some below it out."""
        return max((target.index for target in self.targets), default=0)

    def probability(self, index: int) -> Float[np.ndarray, "D H W"]:
        """How likely each voxel is in a class: (D, H, W) float32, 0..1 in steps of 1/255.

        It is the sigmoid of the class's own logits, before classes share out what several of them hold; 0 where the
        class was not looked for. What was found by clicks alone has the mean probability of the masks that were
        found, weighted by what they promise; what was followed along z that of the mean logits of its pieces; what
        no click has corrected and was therefore kept, .98 inside and .02 outside. It is at least .5 at a voxel that
        was clicked as foreground, less at one of the background.

        Args:
            index: the class, from 1.

        Raises:
            ValueError: there is no such class, or probabilities were not asked for.
        """
        if not 1 <= index <= self.n_classes:
            raise ValueError(f"class {index}: there are 1..{self.n_classes}")
        if not self.maps:
            raise ValueError("probabilities were not kept; call segment(..., probabilities=True)")
        for target, found in zip(self.targets, self.maps, strict=True):
            if target.index == index:
                return found.read(target.clicks)
        return np.zeros(self.labels.shape, np.float32)


class Predictor:
    """Segments cases with one model on one device.

    Args:
        model: a name of `list_models()`, or a segmenter.
        device: "auto", "cpu" or "cuda".
        weights: a .safetensors file instead of the bundled one.
        batch: prompts per forward pass; chosen by device when None.
        zoom_in: settings of the second look; None skips it.

    Raises:
        WeightsError: the model's weights are missing, damaged or another model's.
        ValueError: unknown model or device.
    """

    def __init__(
        self,
        model: str | Segmenter = "mobilenet3d",
        device: str = "auto",
        *,
        weights: str | Path | None = None,
        batch: int | None = None,
        zoom_in: ZoomIn | None = ZoomIn(),
    ) -> None:
        chosen = choose_device(device)
        # Automatic prompts need CuPy on a GPU; without it they are as exact on the CPU.
        self._prompt_device = "auto" if chosen.type == "cuda" else "cpu"
        if isinstance(model, str):
            model = create_model(model, weights=weights or "bundled")
        self.runner = Runner(model, chosen, batch)
        self.zoom_in = zoom_in

    def predict(self, case: Case, prompt: PromptMode = "given") -> Int[np.ndarray, "D H W"]:
        """Labels (D, H, W) of a case; see `segment`."""
        return self.segment(case, prompt).labels

    def segment(
        self,
        case: Case,
        prompt: PromptMode = "given",
        top: int = 1,
        *,
        strict: bool = False,
        probabilities: bool = False,
    ) -> Prediction:
        """Segments every class of a case.

        Args:
            case: the case.
            prompt: "given" uses the case's boxes, clicks and previous labels, and automatic boxes only where
                there are none; "auto" uses automatic boxes alone, "intensity" those of the paper's Algorithm 1.
            top: number of automatic targets.
            strict: see `resolve_targets`.
            probabilities: they are kept, in a byte a class and voxel that was looked at.

        Raises:
            ValueError: there is no such prompt.
            CaseError: strict, and a class has no usable prompt.
        """
        check_mode(prompt)
        began = time.perf_counter()
        volume = torch.from_numpy(np.ascontiguousarray(case.volume))[None]
        find = finder(self.runner, case, self._prompt_device)
        targets, warnings = resolve_targets(case, prompt, self._prompt_device, top, find, strict)
        # Automatic targets are ranked: the first is the same however many are asked for.
        ranked = all(t.source == "automatic" for t in targets)
        wanted = {target.index for target in targets}
        merger = Merger(_shape(volume), max(wanted, default=0), ranked)
        maps = []
        for target, answer in self._answers(volume, targets, in_plane_ratio(case.spacing)):
            merger.add(target.index, answer)
            if probabilities:
                maps.append(ProbabilityMap.of(answer))
        lost = merger.restore_lost()
        honour_clicks(merger.labels, targets)
        warnings += [
            f"{case.name}: class {index} has a voxel only: other classes have more to say of all that was found of "
            "it; ask for it in a file of its own"
            for index in lost
        ]
        warnings += [
            f"{case.name}: class {index} is empty: nothing was found; click on it"
            for index in absent(merger.labels, max(wanted, default=0))
            if index in wanted
        ]
        seconds = time.perf_counter() - began
        return Prediction(merger.labels, tuple(targets), tuple(warnings), seconds, tuple(maps))

    def _answers(
        self, volume: Tensor, targets: Sequence[Target], ratio: float
    ) -> Iterator[tuple[Target, Answer]]:
        """Each target's answer, in order; no more are held at a time than memory can be asked for."""
        for group in self._groups(targets, _shape(volume), ratio):
            answers = self._found(volume, group, ratio)
            for target in group:
                yield target, answers.pop(target.index)

    def _groups(self, targets: Sequence[Target], shape: Shape, ratio: float) -> Iterator[list[Target]]:
        """Neighbours that are answered together: looks at them share batches and encodings."""
        group: list[Target] = []
        held = 0
        for target in targets:
            spanned = self._spanned(target, shape, ratio)
            if group and held + spanned > MOST_HELD:
                yield group
                group, held = [], 0
            group.append(target)
            held += spanned
        if group:
            yield group

    def _spanned(self, target: Target, shape: Shape, ratio: float) -> int:
        """At most so many voxels are looked at for a target."""
        if self._is_long(target, ratio) or self._is_unsized(target):
            return math.prod(shape)
        return math.prod(s.stop - s.start for s in self._first_view(target, shape, ratio).footprint(shape))

    def _found(self, volume: Tensor, targets: Sequence[Target], ratio: float) -> dict[int, Answer]:
        """The answers of some targets, each looked for in the way that suits it."""
        long = [t for t in targets if self._is_long(t, ratio)]
        unsized = [t for t in targets if self._is_unsized(t)]
        answers = self._zoom_out(volume, [t for t in targets if t not in long and t not in unsized], ratio)
        answers |= follow(self.runner, volume, long, ratio)
        answers |= search(self.runner, volume, unsized, ratio)
        if self.zoom_in is not None:
            answers = self._zoom_in(volume, [t for t in targets if t not in long], answers, self.zoom_in)
        for target in targets:
            if target not in unsized:
                answers[target.index] = hold(answers[target.index], target)
            if target.exact_z and target.box is not None:
                answers[target.index].keep_slices(target.box.lower[0], target.box.upper[0])
        return answers

    def _is_long(self, target: Target, ratio: float) -> bool:
        """Whether a target is followed along z: a long box of the challenge, whose y and x hold on one slice."""
        if self.runner.model.zoom_out != "object" or target.box is None or not target.exact_z:
            return False
        return elongation(target.box, ratio) >= SETTINGS.tracking.elongation

    def _is_unsized(self, target: Target) -> bool:
        """Whether only clicks, and perhaps an answer to them, point at a target."""
        return self.runner.model.zoom_out == "object" and target.box is None and bool(target.clicks.points)

    def _first_view(self, target: Target, shape: Shape, ratio: float) -> View:
        """What the first look at a target sees: the whole volume, or its own surroundings."""
        if self.runner.model.zoom_out == "volume":
            return View((0.0, 0.0, 0.0), triple(shape), self.runner.window)
        return frame(target.lower, target.upper, shape, self.runner.window, ratio)

    def _zoom_out(self, volume: Tensor, targets: Sequence[Target], ratio: float) -> dict[int, Answer]:
        """The first look: every target in one window."""
        shape = _shape(volume)
        views = [self._first_view(target, shape, ratio) for target in targets]
        looks = [Look(v, t, previous_logits(t, v)) for v, t in zip(views, targets, strict=True)]
        answers = {}
        for look, logits in self.runner.logits(volume, looks):
            where, values = look.view.write(logits, shape)
            answers[look.target.index] = Answer(where, values[0], shape, look.view.step)
        return answers

    def _zoom_in(
        self, volume: Tensor, targets: Sequence[Target], answers: dict[int, Answer], zoom: ZoomIn
    ) -> dict[int, Answer]:
        """The second look: finer windows along the surface that the first look drew."""
        answers = dict(answers)
        shape = _shape(volume)
        looks: list[Look] = []
        steps: dict[int, Triple] = {}
        gain = self.runner.model.zoom_gain if zoom.gain is None else zoom.gain
        for target in targets:
            answer = answers[target.index]
            region = answer.extent(-zoom.margin)
            if region is None or max(answer.step) < gain:
                continue
            views, step = self._fine_views(region, answer, zoom, shape)
            steps[target.index] = step
            looks += [Look(view, target, answer.read(view)) for view in views]
        # Neighbours in this order share a view: its encoding is computed once.
        looks.sort(key=lambda look: (look.view.lower, look.view.upper, look.target.index))
        weight = blending_weight(self.runner.window)[None]
        sums = {index: torch.zeros_like(answers[index].logits) for index in steps}
        weights = {index: torch.zeros_like(answers[index].logits) for index in steps}
        for look, logits in self.runner.logits(volume, looks):
            index = look.target.index
            answer = answers[index]
            where, values = look.view.write(torch.cat([logits, weight]), shape)
            here, there = answer.overlap(where)
            sums[index][here] += values[0][there] * values[1][there]
            weights[index][here] += values[1][there]
        for index, total in weights.items():
            answer = answers[index]
            fine = torch.where(total > 0, sums[index].div_(total.clamp(min=1e-6)), answer.logits)
            answers[index] = replace(answer, logits=fine, step=steps[index])
        return answers

    def _fine_views(
        self, region: tuple[Triple, Triple], answer: Answer, zoom: ZoomIn, shape: Shape
    ) -> tuple[list[View], Triple]:
        """The windows worth a second look, at the finest step of which there are few enough."""
        factor = 1.0
        while True:
            step = (
                min(answer.step[0], max(1.0, factor)),
                min(answer.step[1], max(1.0, factor)),
                min(answer.step[2], max(1.0, factor)),
            )
            all_views = sliding_views(*region, step, self.runner.window, shape)
            undecided = (view for view in all_views if answer.undecided(view, zoom.margin))
            # Of a large target there are thousands: one too many is enough to know.
            views = list(islice(undecided, zoom.windows + 1))
            if len(views) <= zoom.windows or step == answer.step:
                return views[: zoom.windows], step
            factor *= 1.2


def _shape(volume: Tensor) -> Shape:
    """Of a (1, D, H, W) volume."""
    return volume.shape[1], volume.shape[2], volume.shape[3]
