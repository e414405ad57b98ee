"""Where the time of a prediction goes, taken from outside: inference knows nothing of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lexor.inference import engine
from lexor.inference import runner as running
from lexor.inference.merging import Merger
from lexor.inference.runner import Runner
from lexor.inference.views import View

# In the order in which a case passes through them; "other" is what none of them explains.
STAGES = ("read", "prepare", "prompt", "network", "resample", "merge", "write", "other")

# What is called within a prediction: where it is looked up, its name, and the stage that it counts as.
_CALLS: tuple[tuple[Any, str, str], ...] = (
    (engine, "resolve_targets", "prompt"),
    (running, "prompts_of", "prepare"),
    (running, "normalise", "resample"),
    (View, "read", "resample"),
    (View, "write", "resample"),
    (Merger, "add", "merge"),
    (Merger, "restore_lost", "merge"),
    (engine, "honour_clicks", "merge"),
    (engine, "absent", "merge"),
)


class Stages:
    """Seconds by stage. Of stages within one another only the innermost counts: their sum is the time in all.

    Args:
        wait: is called at the border of two stages, for a device that works on after a call has returned.
    """

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._wait = wait
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done within it counts as `name`."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    def _turn(self) -> None:
        if self._open:
            self._wait()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


@contextmanager
def watching(runner: Runner, stages: Stages) -> Iterator[None]:
    """Within it, the predictions of a runner count by stage; outside of it, every function is as it was."""
    network = ((runner.model, "encode", "network"), (runner.model, "masks", "network"))
    with ExitStack() as stack:
        for owner, name, stage in (*_CALLS, *network):
            stack.enter_context(_counted(owner, name, stage, stages))
        yield


@contextmanager
def _counted(owner: Any, name: str, stage: str, stages: Stages) -> Iterator[None]:
    inherited = name not in vars(owner)
    call = getattr(owner, name)

    @functools.wraps(call)
    def counted(*args: Any, **kwargs: Any) -> Any:
        with stages.stage(stage):
            return call(*args, **kwargs)

    setattr(owner, name, counted)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, call)
