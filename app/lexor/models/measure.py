"""What a model costs on this device: operations and seconds per window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lexor.models.factory import create_model, list_models
from lexor.models.segmenter import Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts

REPEATS = 3


@dataclass(frozen=True)
class Measure:
    """The cost of one window with one box, encoded and decoded.

    Attributes:
        name: of the model.
        window: (d, h, w), its own.
        gflops: 1e9 operations, a multiplication and an addition being two; normalisation and activations,
            some per cent, are not counted.
        seconds: wall-clock seconds by precision, "float32" and, where this device computes in it,
            "bfloat16"; the least of a few runs.
        cpu_seconds: the same in processor time of all threads, which other programs disturb less; empty on a GPU.
    """

    name: str
    window: tuple[int, int, int]
    gflops: float
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]


def measure_models(names: Sequence[str] | None = None, device: str = "cpu") -> Iterator[Measure]:
    """Measures models, with random weights: they cost the same.

    Args:
        names: of `list_models()`; all if None.
        device: "cpu" or "cuda".
    """
    for name in names if names is not None else [info.name for info in list_models()]:
        yield measure(create_model(name, weights=None, device=device, seed=0), name)


@torch.inference_mode()
def measure(model: Segmenter, name: str, repeats: int = REPEATS) -> Measure:
    """Measures a model where it is."""
    device = next(model.parameters()).device
    noise = torch.Generator().manual_seed(0)
    image = torch.randn(1, 1, *model.window, generator=noise).to(device)
    middle_half = [n / 4 for n in model.window] + [n * 3 / 4 for n in model.window]
    prompts = WindowPrompts.build(boxes=[middle_half]).to(device)

    def run() -> Masks:
        return model.masks(model.encode(image), torch.zeros(1, dtype=torch.int64, device=device), prompts)

    # Plain attention is made of operations that the counter knows.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    seconds, cpu_seconds = {}, {}
    for dtype in (torch.float32, torch.bfloat16) if _computes_bfloat16(device) else (torch.float32,):
        precision = str(dtype).removeprefix("torch.")
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype is not torch.float32):
            run()
            times = [_timed(run, device) for _ in range(repeats)]
        seconds[precision] = min(wall for wall, _ in times)
        if device.type == "cpu":
            cpu_seconds[precision] = min(cpu for _, cpu in times)
    return Measure(name, model.window, counter.get_total_flops() / 1e9, seconds, cpu_seconds)


def _timed(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall-clock and processor seconds of a call."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    _wait(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
