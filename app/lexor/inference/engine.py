"""A model on a device, and the answers that it gives to the targets of a volume."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lexor.errors import Notes
from lexor.geometry import Box
from lexor.inference.merging import Answer, Merger, absent, honour_clicks
from lexor.inference.prediction import Prediction
from lexor.inference.probability import ProbabilityMap
from lexor.inference.runner import Runner, choose_device
from lexor.inference.settings import SETTINGS, Zoom
from lexor.inference.strategies import Strategy, most_voxels, strategy_of
from lexor.inference.strategies.automatic import finder
from lexor.inference.targets import PromptMode, Target, resolve_targets
from lexor.inference.volume import Volume
from lexor.io.case import Case
from lexor.models.factory import create_model
from lexor.models.segmenter import Segmenter

# Voxels that the answers held at a time may have together, if they are several: some 20 bytes each.
MOST_HELD = 1 << 27


class Engine:
    """Answers targets; the state of what is segmented is a `Session`'s.

    Args:
        model: a name of `list_models()`, or a segmenter.
        device: "auto", "cpu" or "cuda".
        weights: a .safetensors file instead of the bundled one.
        batch: prompts per forward pass; chosen by device when None.
        zoom: settings of the second look; None skips it.

    Attributes:
        runner: of the model.
        prompt_device: where automatic prompts are computed.

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
        zoom: Zoom | None = SETTINGS.zoom,
    ) -> None:
        chosen = choose_device(device)
        # Automatic prompts need CuPy on a GPU; without it they are as exact on the CPU.
        self.prompt_device = "auto" if chosen.type == "cuda" else "cpu"
        if isinstance(model, str):
            model = create_model(model, weights=weights or "bundled")
        self.runner = Runner(model, chosen, batch, zoom)

    def predict(
        self,
        case: Case,
        volume: Volume,
        prompt: PromptMode = "given",
        top: int = 1,
        *,
        strict: bool = False,
        probabilities: bool = False,
    ) -> Prediction:
        """Every class of a case, in what they share out; see `Session.predict`.

        Args:
            volume: the case's.
        """
        began = time.perf_counter()
        find = finder(self.runner, case, self.prompt_device)
        targets, warnings = resolve_targets(case, prompt, self.prompt_device, top, find, strict)
        # Automatic targets are ranked: the first is the same however many are asked for.
        ranked = all(target.source == "automatic" for target in targets)
        wanted = {target.index for target in targets}
        highest = max(wanted, default=0)
        merger = Merger(volume.shape, highest, ranked)
        maps = []
        for target, answer in self.answers(volume, targets):
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
            for index in absent(merger.labels, highest)
            if index in wanted
        ]
        if (more := len(warnings) - Notes.limit) > 0:
            warnings[Notes.limit :] = [f"{case.name}: {more:,} more warnings are not shown"]
        seconds = time.perf_counter() - began
        return Prediction(merger.labels, tuple(targets), tuple(warnings), seconds, tuple(maps))

    def answers(self, volume: Volume, targets: Sequence[Target]) -> Iterator[tuple[Target, Answer]]:
        """Each target's answer, in order; no more are held at a time than memory can be asked for."""
        # A box that was found for several classes is looked at once.
        serving = Counter(target.box for target in targets if target.source == "automatic")
        shared: dict[Box | None, Answer] = {}

        def shared_box(target: Target) -> Box | None:
            return target.box if target.source == "automatic" and serving[target.box] > 1 else None

        for group in self._groups(volume, targets):
            by_strategy: dict[Strategy, list[Target]] = {}
            asked: set[Box | None] = set()
            for target in group:
                box = shared_box(target)
                if box is None or (box not in shared and box not in asked):
                    by_strategy.setdefault(strategy_of(self.runner, volume, target), []).append(target)
                    asked.add(box)
            found: dict[int, Answer] = {}
            for strategy, members in by_strategy.items():
                found |= strategy(self.runner, volume, members)
            for target in group:
                box = shared_box(target)
                answer = found.pop(target.index) if target.index in found else shared[box]
                if box is not None:
                    shared[box] = answer
                yield target, answer

    def _groups(self, volume: Volume, targets: Sequence[Target]) -> Iterator[list[Target]]:
        """Neighbours that are answered together: looks at them share batches and encodings."""
        group: list[Target] = []
        held = 0
        for target in targets:
            spanned = most_voxels(self.runner, volume, target)
            if group and held + spanned > MOST_HELD:
                yield group
                group, held = [], 0
            group.append(target)
            held += spanned
        if group:
            yield group
