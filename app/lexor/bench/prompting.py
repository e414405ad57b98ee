"""`lexor bench prompts`: the automatic prompt beside the textbook's, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lexor.bench import memory, textbook
from lexor.geometry import Box
from lexor.prompting.backends import select_backend
from lexor.prompting.intensity import checked_volume, find_boxes
from lexor.prompting.parameters import IntensityParameters

STAGES = ("upload", "smoothing", "statistics", "mask", "components", "boxes")
# The smoothed volume, float32, which either way of computing has.
SMOOTHED_BYTES = 4

Done = Callable[[str], object]


@dataclass(frozen=True)
class Timing:
    """One run of Algorithm 1.

    Attributes:
        stages: seconds by stage.
        seconds: all of them together.
        processor: seconds of all cores together.
        boxes: the answer.
    """

    stages: dict[str, float]
    seconds: float
    processor: float
    boxes: list[Box]


@dataclass(frozen=True)
class Comparison:
    """A volume's figures.

    Attributes:
        name: of the volume.
        shape: (D, H, W).
        textbook: the baseline's run, the fastest if there were several.
        first: Lexor's first run on the volume.
        best: its fastest.
        textbook_peak: the baseline's peak memory beyond the volume, bytes per voxel; None: not measured.
        peak: Lexor's.
    """

    name: str
    shape: tuple[int, ...]
    textbook: Timing
    first: Timing
    best: Timing
    textbook_peak: float | None
    peak: float | None

    @property
    def same(self) -> bool:
        """Whether every run gave the same boxes."""
        return self.textbook.boxes == self.first.boxes == self.best.boxes


def compare(
    name: str,
    volume: np.ndarray,
    repeats: int = 3,
    top: int = 1,
    device: str = "cpu",
    with_memory: bool = True,
    parameters: IntensityParameters = textbook.PAPER,
) -> Comparison:
    """Run both pipelines on a volume, one after the other in turns, and compare.

    Args:
        name: of the volume, for the table.
        volume: (D, H, W), see `auto_prompt`.
        repeats: how often Lexor runs; the textbook, which is slow, runs once for every three.
        top: how many boxes.
        device: Lexor's; the textbook's is the CPU.
        with_memory: also run each in a process of its own and read the peak of its memory.
        parameters: of Algorithm 1, for both.
    """
    volume = checked_volume(volume)
    ours: list[Timing] = []
    theirs: list[Timing] = []
    for turn in range(repeats):
        if turn % 3 == 0:
            theirs.append(taken(lambda done: textbook.find_boxes(volume, top, parameters, done).boxes))
        ours.append(taken(lambda done: lexor_boxes(volume, top, parameters, device, done)))
    peaks: list[float | None] = [None, None]
    on_cpu = select_backend(device).name == "cpu"
    if with_memory:
        # Not the boxes but the process matters: hence the functions and not the lambdas above.
        measured = [
            memory.peak_bytes(textbook.find_boxes, volume, top, parameters),
            memory.peak_bytes(lexor_boxes, volume, top, parameters, "cpu") if on_cpu else None,
        ]
        peaks = [None if peak is None else peak / volume.size for peak in measured]
    fastest, best = (min(timings, key=lambda timing: timing.seconds) for timings in (theirs, ours))
    return Comparison(name, volume.shape, fastest, ours[0], best, peaks[0], peaks[1])


def lexor_boxes(
    volume: np.ndarray,
    top: int,
    parameters: IntensityParameters,
    device: str,
    done: Done = lambda stage: None,
) -> list[Box]:
    """Algorithm 1 as Lexor runs it; `done` hears of each stage when the device is done with it."""
    backend = select_backend(device)

    def finished(stage: str) -> None:
        if backend.name == "cuda":  # kernels run on after their call has returned
            backend.xp.cuda.Device().synchronize()
        done(stage)

    with backend.computing():
        return find_boxes(volume, top, parameters, backend, finished)


def taken(work: Callable[[Done], list[Box]]) -> Timing:
    """What a run takes, that tells of its stages."""
    stages: dict[str, float] = {}
    processor = time.process_time()
    start = last = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[stage] = now - last
        last = now

    boxes = work(done)
    return Timing(stages, time.perf_counter() - start, time.process_time() - processor, boxes)


def describe(comparison: Comparison) -> str:
    """The table of a volume, as text."""
    base, best = comparison.textbook, comparison.best
    shape = "x".join(map(str, comparison.shape))
    lines = [f"{comparison.name}, {shape}", f"  {'seconds':<24}{'textbook':>10}{'lexor':>10}{'ratio':>8}"]

    def row(name: str, theirs: float, ours: float) -> None:
        ratio = f"{theirs / ours:7.1f}x" if theirs and ours else ""
        lines.append(f"  {name:<24}{theirs:>10.3f}{ours:>10.3f}{ratio:>8}")

    for stage in STAGES:
        if stage in base.stages:
            row(stage, base.stages[stage], best.stages.get(stage, 0.0))
    row("all", base.seconds, best.seconds)
    row("all, first run", base.seconds, comparison.first.seconds)
    row("all, sum over cores", base.processor, best.processor)
    peaks = [
        "not measured" if peak is None else f"{peak:.2f}, {max(peak - SMOOTHED_BYTES, 0):.2f}"
        for peak in (comparison.textbook_peak, comparison.peak)
    ]
    lines.append(
        f"  peak extra bytes per voxel: in all, and beyond the smoothed volume:"
        f" textbook {peaks[0]}; lexor {peaks[1]}"
    )
    verdict = "the same" if comparison.same else f"DIFFERENT: {base.boxes} and {best.boxes}"
    lines.append(f"  boxes: {verdict}")
    return "\n".join(lines)
