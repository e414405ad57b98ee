"""`lexor view` where it cannot do its work: one line, before anything is opened."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.viewing.demo import CASES

CASE = str(CASES / "PET_sarcoma.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["none.nii.gz"], "error: none.nii.gz: no such file or folder"),
        ([CASE, "--output", "a.txt"], "error: a.txt: no ending of a format"),
        ([CASE, "--mask", "none.nii.gz"], "error: none.nii.gz: no such file"),
        ([CASE, "--model", "none"], "error: "),
    ],
)
def test_what_cannot_be_shown_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["view", *options, "--no-browser", "--device", "cpu"])
    assert found.exit_code == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith(message)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = CliRunner().invoke(app, ["view", CASE, "--port", str(port)])
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: 127.0.0.1:{port} cannot be used")
