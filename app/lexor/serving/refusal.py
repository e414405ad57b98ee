"""A request that is not answered as asked: its status and one line that says why and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lexor.errors import printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


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
