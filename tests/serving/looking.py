"""The viewer on a free port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from running import until

from lexor.serving import listen
from lexor.serving.opening import Opened
from lexor.serving.viewer import make_app

TOKEN = "a-token"


@contextmanager
def shown(opened: Opened, once: str | None = None) -> Iterator[str]:
    """Shows a scan; the address, without its token."""
    bound = listen.bind("127.0.0.1", 0)
    bound.listen()
    port = bound.getsockname()[1]
    server = listen.make_server(make_app(opened, TOKEN, port, once), 32)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def stranger(url: str, redirects: bool = True) -> httpx.Client:
    """A browser that does not know the token."""
    return httpx.Client(base_url=url, trust_env=False, follow_redirects=redirects, timeout=60)


@contextmanager
def looking(opened: Opened, once: str | None = None) -> Iterator[httpx.Client]:
    """A browser that was let in."""
    with shown(opened, once) as url, stranger(url) as client:
        assert client.get(f"/?token={TOKEN}").status_code == 200
        yield client
