"""What tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blob import Blob
from running import Running, served

from lexor.inference.engine import Engine


@pytest.fixture(scope="session")
def bright() -> Engine:
    """A transparent model that answers at once."""
    return Engine(Blob("volume", 4), "cpu")


@pytest.fixture(scope="module")
def running(bright: Engine) -> Iterator[Running]:
    """A server on it, for all tests of a file."""
    with served(bright) as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would ask a proxy even for this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
