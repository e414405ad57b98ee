"""A request that is not answered as asked: its status and one line that says why and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lexor.errors import printable, shown

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


# Characters of a reason in the terminal; the client gets all of it.
_MOST_SHOWN = 500


class Refusal(Exception):
    """Ends a request; the client gets {"detail": ...}.

    Args:
        status: of HTTP.
        detail: one line: what was found, and the remedy.
        headers: more than the usual ones.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail = status, printable(detail)
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    def response(self) -> Response:
        """What the client gets."""
        from starlette.responses import JSONResponse

        return JSONResponse({"detail": self.detail}, self.status, self.headers)


async def refused(_: Request, problem: Exception) -> Response:
    """An exception handler for `Refusal`."""
    assert isinstance(problem, Refusal)
    return problem.response()


class Refusals:
    """Word of refused requests for who runs the server: many clients show their users only the status.

    At most one line a second is told, whatever clients send; the next line counts those that were left out.

    Args:
        tell: is told one line.
        clock: seconds.
    """

    interval = 1.0

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._last: float | None = None
        self._untold = 0

    def note(self, path: str, refusal: Refusal) -> None:
        """A request for a path was refused."""
        now = self._clock()
        if self._last is not None and now - self._last < self.interval:
            self._untold += 1
            return
        more = f" (and {self._untold} more before)" if self._untold else ""
        self._last, self._untold = now, 0
        detail = (
            refusal.detail if len(refusal.detail) <= _MOST_SHOWN else f"{refusal.detail[:_MOST_SHOWN]}..."
        )
        self._tell(f"refused {shown(path)[1:-1]} ({refusal.status}): {detail}{more}")
