"""Being asked to stop: SIGINT (Ctrl-C) and SIGTERM end a run after its step, saved."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the process was asked to stop; a signal handler."""

    made = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.made = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Notes both signals instead of dying of them."""
    request = StopRequest()
    with _handling(request):
        yield request


@contextmanager
def signals_forwarded() -> Iterator[None]:
    """Hands both signals on to the processes started here, which save; this one only waits for them."""
    with _handling(_forward):
        yield


def _forward(number: int, frame: FrameType | None) -> None:
    for child in multiprocessing.active_children():
        child.terminate()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # Python lets the main thread alone set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
