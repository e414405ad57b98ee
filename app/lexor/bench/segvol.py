"""What encoding an image once, and not once per class, gains in predictions of the SegVol framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lexor.geometry import Box
from lexor.inference.predictor import Predictor
from lexor.inference.runner import choose_device
from lexor.io.case import Case
from lexor.models.factory import create_model
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts

SHAPE = (30, 101, 122)
BOXES = 6
BASELINE = "encode once per class, float32"


@dataclass(frozen=True)
class Timing:
    """How long one way of predicting took, in wall-clock and in processor seconds (of all threads)."""

    way: str
    seconds: float
    cpu_seconds: float


class InFloat32(Segmenter):
    """A model that keeps to float32 wherever it is run."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model
        self.window, self.zoom_out, self.zoom_gain = model.window, model.zoom_out, model.zoom_gain

    def encode(self, image: Float[Tensor, "W 1 d h w"]) -> Encoding:
        """The model's encoding, in float32."""
        with torch.autocast(image.device.type, enabled=False):
            return self.model.encode(image)

    def masks(self, encoding: Encoding, index: Int[Tensor, " P"], prompts: WindowPrompts) -> Masks:
        """The model's answers, in float32."""
        with torch.autocast(index.device.type, enabled=False):
            return self.model.masks(encoding, index, prompts)


def bench_case(shape: tuple[int, int, int] = SHAPE, boxes: int = BOXES) -> Case:
    """Noise with a bright ball in each of some boxes; the same every time."""
    rng = np.random.default_rng(0)
    volume = rng.normal(80, 20, shape)
    grid = np.indices(shape)
    made = []
    for _ in range(boxes):
        size = [max(3, int(n * rng.uniform(0.15, 0.35))) for n in shape]
        lower = [int(rng.integers(0, n - s + 1)) for n, s in zip(shape, size, strict=True)]
        upper = [low + s for low, s in zip(lower, size, strict=True)]
        radius = sum(
            ((grid[axis] + 0.5 - (lower[axis] + upper[axis]) / 2) / (size[axis] / 2)) ** 2
            for axis in range(3)
        )
        volume += 80 * (radius < 1)
        z, y, x = lower
        end_z, end_y, end_x = upper
        made.append(Box((z, y, x), (end_z, end_y, end_x), (z + end_z) // 2))
    clipped = volume.clip(0, 255).astype(np.uint8)
    return Case("bench", clipped, (1.0, 1.0, 1.0), tuple(made), (), None, ())


def bench_segvol(
    model: str = "segvol_vit_b",
    weights: Path | None = None,
    device: str = "auto",
    case: Case | None = None,
) -> Iterator[Timing]:
    """Predicts a case with six boxes, the baseline first.

    Args:
        model: a model whose first look spans the whole volume.
        weights: its .safetensors file; random ones if None, which cost the same.
        device: "auto", "cpu" or "cuda".
        case: the case; `bench_case()` if None.

    Raises:
        WeightsError, ValueError: as `create_model` and `Predictor`.
    """
    case = case or bench_case()
    segmenter = create_model(model, weights=weights, seed=0)
    exact = Predictor(InFloat32(segmenter), device)
    usual = Predictor(segmenter, device)
    chosen = choose_device(device)
    # The first pass over a model pays for setting it up.
    exact.predict(replace(case, boxes=case.boxes[:1]))

    def one_by_one() -> None:
        for box in case.boxes:
            exact.predict(replace(case, boxes=(box,)))

    yield timed(BASELINE, one_by_one, chosen)
    yield timed("encode once, float32", lambda: exact.predict(case), chosen)
    yield timed("encode once, as predicted here", lambda: usual.predict(case), chosen)


def timed(way: str, run: Callable[[], object], device: torch.device) -> Timing:
    """How long a call takes, what it left to the device included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return Timing(way, time.perf_counter() - wall, time.process_time() - cpu)
