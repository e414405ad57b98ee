"""What the protocols of a server share: one model, the sessions on it, and who works for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lexor.errors import CaseError, printable, shown
from lexor.inference.engine import Engine
from lexor.inference.session import Session
from lexor.serving.guard import Guard
from lexor.serving.leases import Lease, Leases
from lexor.serving.limits import Limits
from lexor.serving.refusal import Refusal, Refusals
from lexor.serving.work import Worker

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("lexor")

Result = TypeVar("Result")
Routes = Callable[["Service"], Sequence["BaseRoute"]]

# Seconds between two looks for leases that have ended.
SWEEP = 5.0


class Service:
    """A model and what a server needs to answer for it.

    Args:
        engine: the model; all sessions share it.
        limits: how much is taken on.
        tell: is told, in one line each, who comes and goes, what takes long and what is refused.
        licence: of the model's weights.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda line: None,
        licence: str | None = None,
    ) -> None:
        self.engine = engine
        self.limits = limits or Limits()
        self.licence = licence
        self.leases = Leases(self.limits, tell=tell)
        self.worker = Worker(tell)
        self._refusals = Refusals(tell)
        # Volumes are unpacked and converted one at a time: that takes several times their size.
        self._loading = asyncio.Semaphore(1)

    def session(self) -> Session:
        """A new session on the model."""
        return Session(engine=self.engine)

    def warm_up(self) -> None:
        """The first pass over a model pays for setting it up; after this, no client does."""
        session = self.session()
        session.set_volume(np.arange(16 * 48 * 48, dtype=np.uint32).reshape(16, 48, 48) % 251)
        session.box((4, 12, 12), (12, 36, 36))

    async def load(self, work: Callable[[], Result]) -> Result:
        """The result of unpacking or converting something large, away from the event loop and from predictions."""
        async with self._loading:
            return await asyncio.to_thread(work)

    async def answer(self, lease: Lease[Any], what: str, work: Callable[[], Result]) -> Result:
        """The result of a prediction, or of other work on a lease's session; see `Worker.run`."""
        return await self.worker.run(lease.name, what, work)

    def app(self, protocols: Sequence[Routes], token: str | None = None) -> ASGIApp:
        """The application that speaks some protocols.

        Args:
            protocols: each gives its routes.
            token: what clients must send; None: nothing.
        """
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException

        app = Starlette(
            routes=[route for protocol in protocols for route in protocol(self)],
            exception_handlers={
                **dict.fromkeys((Refusal, CaseError, MemoryError, HTTPException), self._refused),
                Exception: _unexpected,
            },
            lifespan=self._lifespan,
        )
        return Guard(_Logged(app), token, note=self._refusals.note)

    async def _refused(self, request: Request, problem: Exception) -> Response:
        """Answers a request that cannot be done, and says so in the terminal."""
        refusal = _refusal_of(problem)
        self._refusals.note(request.scope["path"], refusal)
        return refusal.response()

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            self.worker.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.leases.sweep()


class _Logged:
    """An ASGI application whose unexpected errors go to the log, once the client has its answer.

    Starlette raises them again after that, and uvicorn would close the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes it on."""
        try:
            await self.app(scope, receive, send)
        except Exception:
            if scope["type"] != "http":
                raise
            log.exception("%s failed", printable(scope["path"]))


def _refusal_of(problem: Exception) -> Refusal:
    """What a client is told of an error that ends its request."""
    from starlette.exceptions import HTTPException

    if isinstance(problem, Refusal):
        return problem
    if isinstance(problem, HTTPException):
        return Refusal(problem.status_code, problem.detail, problem.headers)
    if isinstance(problem, MemoryError):
        return Refusal(413, "the server has no memory for this; give a smaller volume")
    return Refusal(400, str(problem))


async def _unexpected(request: Request, problem: Exception) -> Response:
    """For what should not happen; the traceback goes to the log."""
    kind = f"{type(problem).__name__}: {shown(str(problem))}"
    return Refusal(500, f"{request.url.path} failed ({kind}); the server's log says more").response()
