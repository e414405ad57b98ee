"""Starting a server: on which address, in whose hands."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Server

_NEEDED = ("blosc2", "fastapi", "uvicorn")


def check_installed() -> None:
    """That the extra `serve` is installed.

    Raises:
        ValueError: something of it is missing.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(f"a server needs {' and '.join(missing)}; run: pip install 'lexor[serve]'")


def bind(host: str, port: int) -> socket.socket:
    """A socket on an address, not yet listening; port 0 is any free one.

    Raises:
        OSError: the address is another's, or none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except socket.gaierror:
        raise OSError(f"{host} is no address of this machine; give for example 127.0.0.1") from None
    # Named TCP, asyncio sends what is written at once; else each answer would wait 40 ms for the client's
    # acknowledgement of its headers.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as problem:
        found.close()
        raise OSError(f"{host}:{port} cannot be used ({problem.strerror}); give another --port") from None
    return found


def address(bound: socket.socket) -> str:
    """The URL at which a bound socket is reached; every address of the machine is called by its own."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: ASGIApp, connections: int) -> Server:
    """A uvicorn server of an application; `server.run(sockets=[bind(...)])` runs it until it is told to stop.

    Args:
        app: the application.
        connections: so many at a time; more are answered with 503.
    """
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            # What happens is told by the application; this is for what goes wrong.
            log_level="warning",
            access_log=False,
            limit_concurrency=connections,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=5,
        )
    )
