"""The one inference path: zoom-out, zoom-in, merge."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lexor.case import Case, CaseError
from lexor.inference.automatic import finder
from lexor.inference.clicking import search
from lexor.inference.following import elongation, follow
from lexor.inference.framing import frame, in_plane_ratio
from lexor.inference.holding import hold
from lexor.inference.merging import Answer, honour_clicks, merge, stack
from lexor.inference.runner import Look, Runner, choose_device, previous_logits
from lexor.inference.settings import SETTINGS
from lexor.inference.targets import PromptMode, Target, resolve_targets
from lexor.inference.views import Shape, Triple, View
from lexor.inference.windows import blending_weight, sliding_views
from lexor.models.factory import create_model
from lexor.models.segmenter import Segmenter

# Voxels that first looks may span together, and those of answers that are refined at a time: 4 and 8 bytes each.
MOST_SEEN, MOST_REFINED = 1 << 32, 1 << 27


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
    """

    labels: np.ndarray
    targets: tuple[Target, ...]
    warnings: tuple[str, ...]
    seconds: float


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
        self, case: Case, prompt: PromptMode = "given", top: int = 1, *, strict: bool = False
    ) -> Prediction:
        """Segments every class of a case.

        Args:
            case: the case.
            prompt: "given" uses the case's boxes, clicks and previous labels, and automatic boxes only where
                there are none; "auto" uses automatic boxes alone, "intensity" those of the paper's Algorithm 1.
            top: number of automatic targets.
            strict: a class whose prompt could not be read is an error.

        Raises:
            ValueError: there is no such mode.
            CaseError: its boxes span more voxels together than memory can be asked for; or, in strict mode, a
                class's prompt could not be read.
        """
        began = time.perf_counter()
        volume = torch.from_numpy(np.ascontiguousarray(case.volume))[None]
        shape: Shape = (volume.shape[1], volume.shape[2], volume.shape[3])
        find = finder(self.runner, case, self._prompt_device)
        targets, warnings = resolve_targets(case, prompt, self._prompt_device, top, find)
        unread = [str(target.index) for target in targets if target.stand_in]
        if strict and unread:
            raise CaseError(
                f"{case.name}: prompts of class {', '.join(unread)} cannot be read; see the warnings"
            )
        ratio = in_plane_ratio(case.spacing)
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
        # Automatic targets are ranked: the first is the same however many are asked for.
        combine = stack if all(t.source == "automatic" for t in targets) else merge
        labels = combine([answers[t.index] for t in targets], [t.index for t in targets], shape)
        honour_clicks(labels, targets)
        return Prediction(labels, tuple(targets), tuple(warnings), time.perf_counter() - began)

    def _is_long(self, target: Target, ratio: float) -> bool:
        """Whether a target is followed along z: a long box of the challenge, whose y and x hold on one slice."""
        if self.runner.model.zoom_out != "object" or target.box is None or not target.exact_z:
            return False
        return elongation(target.box, ratio) >= SETTINGS.tracking.elongation

    def _is_unsized(self, target: Target) -> bool:
        """Whether only clicks, and perhaps an answer to them, point at a target."""
        return self.runner.model.zoom_out == "object" and target.box is None and bool(target.clicks.points)

    def _zoom_out(self, volume: Tensor, targets: Sequence[Target], ratio: float) -> dict[int, Answer]:
        """The first look: every target in one window, the whole volume or its own surroundings."""
        shape: Shape = (volume.shape[1], volume.shape[2], volume.shape[3])
        whole = View((0.0, 0.0, 0.0), (float(shape[0]), float(shape[1]), float(shape[2])), self.runner.window)
        looks = []
        for target in targets:
            if self.runner.model.zoom_out == "volume":
                view = whole
            else:
                view = frame(target.lower, target.upper, shape, self.runner.window, ratio)
            looks.append(Look(view, target, previous_logits(target, view)))
        spanned = sum(math.prod(s.stop - s.start for s in look.view.footprint(shape)) for look in looks)
        if spanned > MOST_SEEN:
            raise CaseError(
                f"boxes: {len(looks)} of them span {spanned:,} voxels together, at most {MOST_SEEN:,} are answered; "
                "give fewer classes a file, or crop the volume"
            )
        answers = {}
        for look, logits in self.runner.logits(volume, looks):
            where, values = look.view.write(logits, shape)
            answers[look.target.index] = Answer(where, values[0], shape, look.view.step)
        return answers

    def _zoom_in(
        self, volume: Tensor, targets: Sequence[Target], answers: dict[int, Answer], zoom: ZoomIn
    ) -> dict[int, Answer]:
        """The second look: finer windows along the surface that the first look drew.

        It is taken at all targets together, unless they are so large that memory would run short.
        """
        group: list[Target] = []
        seen = 0
        for target in targets:
            size = answers[target.index].logits.numel()
            if group and seen + size > MOST_REFINED:
                answers = self._refined(volume, group, answers, zoom)
                group, seen = [], 0
            group.append(target)
            seen += size
        return self._refined(volume, group, answers, zoom)

    def _refined(
        self, volume: Tensor, targets: Sequence[Target], answers: dict[int, Answer], zoom: ZoomIn
    ) -> dict[int, Answer]:
        """The answers, those of the given targets after their second look."""
        answers = dict(answers)
        shape: Shape = (volume.shape[1], volume.shape[2], volume.shape[3])
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
            fine = torch.where(total > 0, sums[index] / total.clamp(min=1e-6), answer.logits)
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
            views = sliding_views(*region, step, self.runner.window, shape)
            views = [view for view in views if answer.undecided(view, zoom.margin)]
            if len(views) <= zoom.windows or step == answer.step:
                return views[: zoom.windows], step
            factor *= 1.2
