"""A server on a free port of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import uvicorn

from lexor.inference.engine import Engine
from lexor.serving import listen, nninteractive
from lexor.serving.limits import Limits
from lexor.serving.service import Routes, Service

SHAPE = (24, 48, 40)


def scene(seed: int = 0) -> np.ndarray:
    """Two bright balls in noise, uint8."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    one = ((z - 12) / 6) ** 2 + ((y - 14) / 8) ** 2 + ((x - 14) / 8) ** 2 <= 1
    two = ((z - 12) / 5) ** 2 + ((y - 34) / 7) ** 2 + ((x - 28) / 7) ** 2 <= 1
    noise = np.random.default_rng(seed).normal(60, 8, SHAPE)
    return (noise + 120 * one + 80 * two).clip(0, 255).astype(np.uint8)


@dataclass
class Running:
    """A server in a thread.

    Attributes:
        url: where it is.
        service: what it serves.
        told: what it said.
    """

    url: str
    service: Service
    told: list[str]
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


def start(
    engine: Engine,
    limits: Limits | None = None,
    token: str | None = None,
    port: int = 0,
    protocols: Sequence[Routes] = (nninteractive.routes,),
) -> Running:
    """Starts one."""
    told: list[str] = []
    service = Service(engine, limits, told.append, "CC0-1.0")
    bound = listen.bind("127.0.0.1", port)
    bound.listen()
    server = listen.make_server(service.app(protocols, token), service.limits.connections)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    running = Running(listen.address(bound), service, told, server, thread)
    until(lambda: server.started)
    return running


@contextmanager
def served(
    engine: Engine,
    limits: Limits | None = None,
    token: str | None = None,
    protocols: Sequence[Routes] = (nninteractive.routes,),
) -> Iterator[Running]:
    """One that is stopped at the end."""
    running = start(engine, limits, token, protocols=protocols)
    try:
        yield running
    finally:
        running.stop()


def until(done: object, seconds: float = 20) -> None:
    """Waits until something is so."""
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def get(url: str, **headers: str) -> httpx.Response:
    """A GET without proxies."""
    return httpx.get(url, headers=headers, trust_env=False)
