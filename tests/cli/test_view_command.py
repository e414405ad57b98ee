"""`lexor view` where it cannot do its work: one line, before anything is opened."""

from __future__ import annotations

import socket
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.serving.opening import Opened
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


def test_the_modality_that_the_advice_names_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Opened] = []
    monkeypatch.setattr("lexor.cli.view._run", lambda opened, bound, browser: shown.append(opened))
    units = np.random.default_rng(0).integers(-1000, 1500, (16, 16, 16)).astype(np.int16)
    units[0] = -1000
    scan = tmp_path / "patient7.nii.gz"
    nibabel.save(nibabel.Nifti1Image(units, np.eye(4)), scan)
    for options in ([], ["--modality", "CT"]):
        found = CliRunner().invoke(app, ["view", str(scan), "--no-browser", "--device", "cpu", *options])
        assert found.exit_code == 0, found.output
    unknown, known = shown
    assert [note.partition(": ")[2] for note in unknown.notes if "Hounsfield" in note] == [
        "its values look like Hounsfield units; if it is a CT, give --modality CT"
    ]
    assert not any("Hounsfield" in note for note in known.notes)
    assert (unknown.annotation.scan.modality, known.annotation.scan.modality) == (None, "CT")
