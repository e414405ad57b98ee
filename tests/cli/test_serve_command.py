"""`lexor serve` as a user starts and stops it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.serving import listen
from processes import hear_interrupts


def refusal(*options: str, **environment: str) -> str:
    result = CliRunner().invoke(app, ["serve", *options], env={"LEXOR_TOKEN": None, **environment})
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    return line


def test_a_server_that_others_can_reach_wants_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "my-machine.example"):
        assert f"other machines can reach --host {host}, so it needs a token" in refusal("--host", host)
    assert "the token has 5 characters; give at least 8" in refusal("--host", "0.0.0.0", "--token", "short")
    assert "the token has 5 characters" in refusal(LEXOR_TOKEN="short")


def test_an_address_that_cannot_be_had_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port} cannot be used (Address already in use)" in refusal("--port", port)
    assert "cannot be used" in refusal("--host", "192.0.2.7", "--token", "long enough", "--port", "0")


def test_a_model_or_extra_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "model" in refusal("--port", "0", "--model", "mobilenet4d")
    assert "no such file" in refusal("--port", "0", "--weights", str(tmp_path / "none.safetensors")).lower()
    monkeypatch.setattr(listen, "_NEEDED", ("blosc2", "no_such_package"))
    assert "a server needs no_such_package; run: pip install 'lexor[serve]'" in refusal()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "last"), [(signal.SIGINT, 0, "stopped"), (signal.SIGTERM, 143, "")]
)
def test_it_says_where_it_is_and_stops_when_told(number: int, code: int, last: str) -> None:
    command = [sys.executable, "-m", "lexor.cli", "serve", "--port", "0", "--device", "cpu"]
    environment = os.environ | {"LEXOR_TOKEN": "long enough"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=hear_interrupts
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        url = first.split()[-1]
        assert first == f"Lexor listens on {url}\n"
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.get("/healthz").json() == {"ok": True}
            assert client.get("/capabilities").status_code == 401
            client.headers["Authorization"] = "Bearer long enough"
            assert client.get("/capabilities").json()["license"] == "CC-BY-SA-4.0"
            assert client.post("/claim").json()["max_sessions"] == 4
        process.send_signal(number)
        output = process.stdout.read()
        assert process.wait(30) == code
    assert "Clients must send the token" in output
    assert "session 1: opened (1 of 4)" in output
    assert output.splitlines()[-1].startswith(last)
