"""How much memory a call takes at its peak, of numpy and of every other library, seen from the kernel."""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

# Linux: writing 5 resets the high-water mark that `status` shows.
RESET = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


def peak_bytes(work: Callable[..., object], *args: Any) -> int | None:
    """Peak of the resident memory while `work(*args)` runs in a fresh process, less what was there before.

    The work runs once before, on the same arguments, so that neither imports nor pools count. `work` and its
    arguments are pickled. None where the kernel does not tell (not Linux, or a locked-down container).
    """
    if not (RESET.exists() and STATUS.exists()):
        return None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, work, *args).result()


def peak_of_process() -> int | None:
    """Peak of the resident memory of this process since it began; None where the kernel does not tell."""
    try:
        return _status("VmHWM")
    except (OSError, KeyError):
        return None


def _measure(work: Callable[..., object], *args: Any) -> int | None:
    work(*args)
    _return_freed_memory()
    try:
        RESET.write_text("5", encoding="ascii")
        before = _status("VmRSS")
        work(*args)
        return _status("VmHWM") - before
    except (OSError, KeyError):
        return None


def _return_freed_memory() -> None:
    """What the first run left with the allocator would hide from the second's peak. (glibc; musl has no such.)"""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
    return int(lines[key].split()[0]) * 1024
