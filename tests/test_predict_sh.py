"""predict.sh from a checkout, with a stand-in for the command it calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "predict.sh"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with predict.sh and a `lexor` that prints its arguments and exits 7."""
    folder = tmp_path / "a checkout"
    command = folder / ".venv" / "bin" / "lexor"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    command.chmod(0o755)
    shutil.copy(SCRIPT, folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["predict", "{here}/inputs", "{here}/outputs", "--no-log"]),
        (["--device", "cpu"], ["predict", "{here}/inputs", "{here}/outputs", "--no-log", "--device", "cpu"]),
        (["in dir", "out", "--prompt", "auto"], ["predict", "in dir", "out", "--prompt", "auto"]),
    ],
)
def test_passes_folders_options_and_exit_status(
    checkout: Path, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    run = subprocess.run(
        ["sh", str(checkout / "predict.sh"), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines() == [item.format(here=checkout) for item in expected]
    assert run.returncode == 7
    assert run.stderr == ""


def test_says_what_to_do_where_lexor_is_not_installed(checkout: Path) -> None:
    (checkout / ".venv" / "bin" / "lexor").unlink()
    run = subprocess.run(
        ["/bin/sh", str(checkout / "predict.sh")],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "make demo" in run.stderr
