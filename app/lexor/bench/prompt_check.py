"""What `lexor bench gpu` says of automatic prompts: the same boxes everywhere, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexor.bench import naive, phantoms, textbook
from lexor.bench.prompting import STAGES, lexor_boxes, taken
from lexor.geometry import Shape
from lexor.io.case import read_case
from lexor.prompting.backends import select_backend
from lexor.prompting.closing import close_with_ball
from lexor.prompting.intensity import checked_volume

PAPER = textbook.PAPER
# Bytes a voxel that each stage cannot avoid to read and write. A uint8 volume is read, and smoothed to float32. That
# is read for the statistics, and again for the mask, of bytes. It becomes int32 labels, which are read for the boxes.
LEAST_BYTES = {"smoothing": 1 + 4, "statistics": 4, "mask": 4 + 1, "components": 1 + 4, "boxes": 4}
# A copy of so many bytes tells the memory's speed.
COPIED = 1 << 28
REPEATS = 5

_COLD = """
import sys, time
import numpy as np
from lexor.bench.phantoms import body
shape, device = tuple(map(int, sys.argv[1].split("x"))), sys.argv[2]
volume = body(shape)
if device == "cuda":
    import torch
    torch.ones(1, device="cuda").sum().item()
began = time.perf_counter()
from lexor.prompting import auto_prompt
auto_prompt(volume, device=device)
print("seconds", time.perf_counter() - began)
"""


def same_boxes(files: Sequence[Path], device: str, limit: float) -> dict[str, Any]:
    """Whether the CPU and the device answer as the textbook does, the smallest volumes first, within a time limit.

    Args:
        files: challenge cases.
        device: the other backend.
        limit: seconds after which no further volume is begun.
    """
    began = time.perf_counter()
    different: list[str] = []
    compared = voxels = 0
    for name, volume in _volumes(sorted(files, key=lambda file: file.stat().st_size)):
        if time.perf_counter() - began > limit:
            break
        volume = checked_volume(volume)
        expected = textbook.find_boxes(volume, 3).boxes
        for where in dict.fromkeys(("cpu", device)):
            if lexor_boxes(volume, 3, PAPER, where) != expected:
                different.append(f"{name} on {where}")
        compared, voxels = compared + 1, voxels + volume.size
    return {
        "volumes": compared,
        "at hand": len(files),
        "voxels": voxels,
        "backends": list(dict.fromkeys(("cpu", device))),
        "different": different,
    }


def _volumes(files: Iterable[Path]) -> Iterable[tuple[str, np.ndarray]]:
    for file in files:
        yield file.name, read_case(file).volume


def prompt_costs(shapes: Sequence[Shape], device: str, repeats: int = REPEATS) -> dict[str, Any]:
    """Seconds of automatic prompts on the device, cold and warm, beside naive code, the CPU and the memory's speed.

    Args:
        shapes: of the phantoms, (D, H, W).
        device: "cuda", or "cpu" to rehearse.
        repeats: how often each is run; the fastest counts.
    """
    memory, link = _bytes_per_second(device)
    found: dict[str, Any] = {
        "memory GB/s": memory / 1e9,
        "to the device GB/s": link / 1e9 if link else "no copy",
    }
    for shape in shapes:
        name = "x".join(map(str, shape))
        found[name] = _costs(phantoms.body(shape), device, repeats, memory, link)
        found[name]["cold"] = cold(shape, device)
        found[name]["cold on the cpu"] = cold(shape, "cpu")["kernels in the cache"]
    return found


def _costs(
    volume: np.ndarray, device: str, repeats: int, memory: float, link: float | None
) -> dict[str, Any]:
    runs = [taken(lambda done: lexor_boxes(volume, 1, PAPER, device, done)) for _ in range(repeats + 1)]
    warm = min(runs[1:], key=lambda timing: timing.seconds)
    naive_seconds, naive_box = _best(lambda: naive.find_box(volume, PAPER, device), repeats)
    on_cpu, _ = _best(lambda: lexor_boxes(volume, 1, PAPER, "cpu"), repeats)
    floor = {stage: LEAST_BYTES.get(stage, 0) * volume.size / memory for stage in STAGES}
    floor["upload"] = volume.nbytes / link if link else 0.0
    least = sum(floor.values())
    return {
        "first": runs[0].seconds,
        "warm": warm.seconds,
        "stages": warm.stages,
        "times the floor by stage": {k: warm.stages[k] / floor[k] for k in STAGES if floor[k]},
        "floor of memory traffic": least,
        "warm, times the floor": warm.seconds / least,
        "naive": naive_seconds,
        "naive is so many times slower": naive_seconds / warm.seconds,
        "naive box is the same": [naive_box] == warm.boxes,
        "on the cpu": on_cpu,
        "the cpu is so many times slower": on_cpu / warm.seconds,
        "closing": _closings(volume, device, repeats),
    }


def _closings(volume: np.ndarray, device: str, repeats: int) -> dict[str, float]:
    """Two ways to close the same mask: that of the device, and the one of packed bits."""
    backend = select_backend(device)
    z, y, x = volume.shape
    with backend.computing():
        mask = backend.upload(volume) > 120
        ways: dict[str, Callable[[], object]] = {
            "of the backend": lambda: backend.close(mask.__getitem__, (z, y, x), PAPER.closing_radius),
            "of packed bits": lambda: close_with_ball(
                mask.__getitem__, (z, y, x), PAPER.closing_radius, backend
            ),
        }
        return {way: _best(lambda run=run: _finished(run(), device), repeats)[0] for way, run in ways.items()}  # type: ignore[misc]


def _finished(result: object, device: str) -> object:
    if device == "cuda":
        import cupy

        cupy.cuda.Device().synchronize()
    return result


def _best(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest run, after one that does not count, and the answer."""
    answer = work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - began)
    return min(seconds), answer


def cold(shape: Shape, device: str) -> dict[str, float]:
    """Seconds of a process's first prompt, imports included, with no compiled kernels and with those of the first."""
    seconds = {}
    with tempfile.TemporaryDirectory(prefix="lexor-kernels-") as kernels:
        environment = dict(
            os.environ, CUPY_CACHE_DIR=kernels, PYTHONPATH=os.pathsep.join(filter(None, sys.path))
        )
        for name in ("no kernels", "kernels in the cache"):
            command = [sys.executable, "-c", _COLD, "x".join(map(str, shape)), device]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
            if done.returncode:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
            seconds[name] = float(done.stdout.split()[-1])
    return seconds


def _bytes_per_second(device: str) -> tuple[float, float | None]:
    """How fast the device copies its own memory, reads and writes counted, and takes what the host sends."""
    import torch

    chosen = torch.device(device)
    source = torch.zeros(COPIED, dtype=torch.uint8, device=chosen)
    target = torch.empty_like(source)

    def seconds(copy: Callable[[], object]) -> float:
        def work() -> None:
            copy()
            if chosen.type == "cuda":
                torch.cuda.synchronize()

        return _best(work, REPEATS)[0]

    own = 2 * COPIED / seconds(lambda: target.copy_(source))
    if chosen.type == "cpu":
        return own, None
    host = torch.zeros(COPIED, dtype=torch.uint8).pin_memory()
    return own, COPIED / seconds(lambda: target.copy_(host, non_blocking=True))
