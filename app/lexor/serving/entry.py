"""Who may use the viewer: whoever has the address that `lexor view` printed, in a browser on this machine."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from lexor.serving.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts, styles and data of this server alone; NiiVue's font is in its code, as a picture in a data: URL.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Entry:
    """An ASGI application that lets in who knows a token: from the address `/?token=...`, then by a cookie.

    Args:
        app: what they use.
        token: letters and digits.
        port: of the server; a cookie is sent to all ports of a machine, so its name tells them apart.
        once: another token that is good for one entry: what a browser is started with, other users of the machine can
            see.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, once: str | None = None) -> None:
        self.app, self._token, self._once, self._cookie = app, token, once, f"lexor-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it; all replies get the headers that keep a page to itself."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        await self._answer(scope)(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> ASGIApp:
        from starlette.responses import RedirectResponse

        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and (self._is_token(given) or self._is_once(given)):
            found = RedirectResponse("/", 303)
            found.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return found
        if self._is_token(self._sent(scope)):
            return self.app
        return Refusal(403, "open the whole address that `lexor view` printed, with its token").response()

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _is_once(self, given: str) -> bool:
        if self._once is None or not hmac.compare_digest(given.encode(), self._once.encode()):
            return False
        self._once = None
        return True

    def _sent(self, scope: Scope) -> str:
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
        try:
            cookie = SimpleCookie("; ".join(headers)).get(self._cookie)
        except CookieError:
            return ""
        return cookie.value if cookie is not None else ""
