"""Who may ask: the token, and what keeps web pages of other sites out of a server on this machine.

A browser lets any page send requests to 127.0.0.1; that page cannot read the answers, as no CORS header allows it,
but it could use up sessions. So a request that names another origin is refused. And a name that somebody else's DNS
suddenly resolves to 127.0.0.1 would make the page and the server one origin; so, where no token is asked for, only
names of this machine are answered.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lexor.errors import shown
from lexor.serving.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# A token may be guessed at as often as somebody likes.
LEAST_TOKEN = 8


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, that no other reaches."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, token: str | None) -> None:
    """That a server which others can reach asks for a token.

    Raises:
        ValueError: it does not, or the token is none.
    """
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ValueError(
            f"the token has {len(token)} characters; give at least {LEAST_TOKEN}, letters and digits, for example "
            "what `openssl rand -hex 16` prints"
        )
    if token is None and not is_loopback(host):
        raise ValueError(
            f"other machines can reach --host {host}, so it needs a token: give --token, or set LEXOR_TOKEN, for "
            "example to what `openssl rand -hex 16` prints; or stay with --host 127.0.0.1"
        )


class Guard:
    """An ASGI application that passes on the requests of those who may ask, and refuses all others.

    Args:
        app: what they ask.
        token: what they must send as `Authorization: Bearer TOKEN`; None: nothing.
        open_paths: what may be asked without a token.
        note: is told the path of each request that is refused here, and why.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None = None,
        open_paths: Collection[str] = ("/healthz",),
        note: Callable[[str, Refusal], None] = lambda path, refusal: None,
    ) -> None:
        self.app, self.token, self.open_paths, self._note = app, token, frozenset(open_paths), note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes it on, or refuses it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            self._check(scope)
        except Refusal as problem:
            self._note(scope["path"], problem)
            await problem.response()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        origin = headers.get(b"origin")
        if origin is not None and _authority(origin) != host.lower():
            raise Refusal(403, f"a page of {shown(origin)} must not ask this server")
        # A picture's or a frame's request names no origin, but browsers say so much.
        if headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refusal(403, "a page of another site must not ask this server")
        if self.token is None:
            if not is_loopback(_host_name(host)):
                raise Refusal(
                    403, f"the server has no token, so it answers 127.0.0.1 and localhost, not {shown(host)}"
                )
        elif scope["path"] not in self.open_paths:
            kind, _, given = headers.get(b"authorization", "").partition(" ")
            if kind.lower() != "bearer":
                raise Refusal(401, "the server wants its token, as Authorization: Bearer TOKEN", _ASK)
            if not hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode("latin-1")):
                raise Refusal(401, "that is not the server's token", _ASK)


_ASK = {"WWW-Authenticate": "Bearer"}


def _authority(origin: str) -> str | None:
    """Host and port of an origin, as browsers write them in `Host`; None where it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """Of a `Host` header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
