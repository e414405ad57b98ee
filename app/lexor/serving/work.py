"""Work of a server, away from its event loop: one prediction at a time, and word of what takes long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")

# Seconds after which a server says what it is at.
PATIENCE = 1.0


@dataclass(frozen=True)
class Task:
    """What is being done for whom, since when."""

    owner: str
    what: str
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self.began


class Worker:
    """Runs work in a thread of its own, so that the server keeps answering others.

    One piece after the other: two predictions at a time would take twice the memory and be no sooner done; and
    OpenMP's threads are those of the one thread that asks for them.

    Args:
        tell: is told of work that takes more than a second.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        self._tell = tell
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lexor-work")
        self._tasks: dict[int, Task] = {}

    def doing(self, owner: str) -> Task | None:
        """What is being done for somebody, or waits to be."""
        return next((task for task in self._tasks.values() if task.owner == owner), None)

    async def run(self, owner: str, what: str, work: Callable[[], Result]) -> Result:
        """The result of some work.

        Args:
            owner: for whom.
            what: it is, in a few words.
            work: is called in the thread.
        """
        task = Task(owner, what)
        self._tasks[id(task)] = task
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            done, _ = await asyncio.wait([future], timeout=PATIENCE)
            if done:
                return future.result()
            self._tell(f"{owner}: {what} ...")
            result = await future
            self._tell(f"{owner}: {what}: {task.seconds:.1f} s")
            return result
        finally:
            del self._tasks[id(task)]

    def close(self) -> None:
        """Waits for what is being done; takes on no more."""
        self._thread.shutdown(cancel_futures=True)
