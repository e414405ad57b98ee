"""Leases: who holds which session, until they give it back, fall silent or do nothing for long."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from lexor.serving.limits import Limits
from lexor.serving.refusal import Refusal

State = TypeVar("State")

# Seconds after which one who was refused may ask again.
RETRY_AFTER = 10


class Lease(Generic[State]):
    """What one client holds.

    Attributes:
        token: names it.
        number: counts the leases of a server, for its log.
        state: the client's; nothing else refers to it, so it is gone with the lease.
        lively: whether the client promised signs of life.
    """

    @property
    def name(self) -> str:
        """As the server's log calls it."""
        return f"session {self.number}"

    def __init__(self, number: int, state: State, lively: bool, now: float) -> None:
        self.token = secrets.token_hex(16)
        self.number = number
        self.state = state
        self.lively = lively
        self.ended = False
        self.seen = self.active = now
        self._lock = asyncio.Lock()
        self._waiting = 0

    @property
    def busy(self) -> bool:
        """Whether something is done for it, or waits to be."""
        return self._waiting > 0

    @asynccontextmanager
    async def held(self, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[State]:
        """Its state, one piece of work after the other.

        Raises:
            Refusal: the lease ended while it waited (410).
        """
        self._waiting += 1
        try:
            async with self._lock:
                if self.ended:
                    raise _gone()
                yield self.state
        finally:
            self._waiting -= 1
            self.seen = self.active = clock()


class Leases:
    """The leases of a server, whatever protocols it speaks; used from its event loop alone.

    Args:
        limits: how many there are, and when they end.
        clock: seconds that never go back.
        tell: is told who comes and goes.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.limits = limits
        self.clock, self._tell = clock, tell
        self._held: dict[str, Lease[Any]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._held)

    def claim(self, make: Callable[[], State], lively: bool = True) -> Lease[State]:
        """A new lease.

        Args:
            make: its state.
            lively: whether its client will give signs of life.

        Raises:
            Refusal: there are as many as there may be (503).
        """
        self.sweep()
        most = self.limits.sessions
        if len(self._held) >= most:
            raise Refusal(
                503,
                f"all {most} session{'s are' if most > 1 else ' is'} in use; close one, or try again later",
                {"Retry-After": str(RETRY_AFTER)},
            )
        self._count += 1
        lease = Lease(self._count, make(), lively, self.clock())
        self._held[lease.token] = lease
        self._tell(f"{lease.name}: opened ({len(self)} of {most})")
        return lease

    def get(self, token: str | None, kind: type[State], touch: bool = True) -> Lease[State]:
        """The lease of a token.

        Args:
            token: as the client sent it.
            kind: of its state; a lease of another protocol is none here.
            touch: whether that was a sign of life.

        Raises:
            Refusal: there is none, or it has ended (410).
        """
        lease = self._held.get(token or "")
        if lease is None or self._expired(lease) or not isinstance(lease.state, kind):
            self.sweep()
            raise _gone() if token else Refusal(410, "the request names no session; claim one first")
        if touch:
            lease.seen = self.clock()
        return lease

    def remaining(self, lease: Lease[Any]) -> float:
        """Seconds until it ends if nothing is asked for."""
        if lease.busy:
            return self.limits.idle_seconds
        return max(0.0, self.limits.idle_seconds - (self.clock() - lease.active))

    def release(self, token: str | None) -> bool:
        """Ends a lease; False where there is none of that token."""
        lease = self._held.get(token or "")
        if lease is None:
            return False
        self._end(lease, "closed")
        return True

    def sweep(self) -> int:
        """Ends what has been idle or silent for too long; how many these were."""
        late = [(lease, why) for lease in self._held.values() if (why := self._expired(lease))]
        for lease, why in late:
            self._end(lease, why)
        return len(late)

    def _expired(self, lease: Lease[Any]) -> str | None:
        """Why a lease ends now, if it does."""
        if lease.busy:
            return None
        now = self.clock()
        if lease.lively and now - lease.seen > self.limits.liveness_seconds:
            return "ended: its client fell silent"
        if now - lease.active > self.limits.idle_seconds:
            return "ended: nothing was asked of it for long"
        return None

    def _end(self, lease: Lease[Any], why: str) -> None:
        lease.ended = True
        del self._held[lease.token]
        self._tell(f"{lease.name}: {why} ({len(self)} of {self.limits.sessions})")


def _gone() -> Refusal:
    return Refusal(410, "the session has ended, or the server was started again; connect again")
