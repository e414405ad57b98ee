"""What cannot be printed costs nothing, and what is printed cannot harm a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from case_files import BOX, VOLUME, objects
from lexor.cli import app
from lexor.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 3 µm [red]x[/red] :heart:", "Größe 3 µm [red]x[/red] :heart:"),
        ("a\x1b[31mb\r\n\x07", "a\\x1b[31mb\\r\\n\\x07"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("right\u202eleft\u200b", "right\\u202eleft\\u200b"),
        (os.fsdecode(b"\xff"), "\\udcff"),
    ],
)
def test_control_characters_are_escaped_and_no_others(text: str, shown: str) -> None:
    assert printable(text) == shown


# A command of three lines on each stream that ends as it says; `predict` and `prompt` differ in what they are for.
COMMAND = """
import sys
from lexor.cli import command
def app():
    for number in range(3):
        print("out", number)
        print("err", number, file=sys.stderr)
    open(sys.argv[2], "w").close()
    raise SystemExit(int(sys.argv[3]))
command.app = app
command.main()
"""


def run(command: str, status: int, done: Path, redirect: str) -> subprocess.CompletedProcess[str]:
    line = f'"$0" -c "$1" {command} "$2" {status} {redirect}; echo "status ${{PIPESTATUS[0]}}" >&3'
    return subprocess.run(
        ["bash", "-c", f"exec 3>&1; {line}", sys.executable, COMMAND, str(done)],
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    "redirect", ["| head -n 0", ">/dev/full", "2>/dev/full", ">&-", "2>&-", ">/dev/full 2>&1"]
)
@pytest.mark.parametrize("status", [0, 1])
def test_answers_and_their_status_do_not_depend_on_what_can_be_printed(
    redirect: str, status: int, tmp_path: Path
) -> None:
    done = run("predict", status, tmp_path / "done", redirect)
    assert (tmp_path / "done").exists()
    assert done.stdout.endswith(f"status {status}\n")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    lost = "warning: not all could be printed: No space left on device\n"
    assert (lost in done.stderr) == (redirect == ">/dev/full")


def test_a_command_that_is_for_printing_fails_where_it_cannot(tmp_path: Path) -> None:
    assert run("prompt", 0, tmp_path / "done", ">/dev/full").stdout == "status 1\n"
    assert run("prompt", 2, tmp_path / "done", ">/dev/full").stdout == "status 2\n"
    # Who closes a pipe has read enough.
    assert run("prompt", 0, tmp_path / "done", "| head -n 0").stdout == "status 0\n"


def test_a_cases_name_reaches_the_terminal_as_text(tmp_path: Path) -> None:
    name = "CT_\x1b[31m[red]:heart:\n.npz"
    np.savez(tmp_path / name, imgs=VOLUME, boxes=objects(BOX))
    result = CliRunner().invoke(app, ["predict", str(tmp_path), str(tmp_path / "out"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "CT_\\x1b[31m[red]:heart:\\n.npz: 10x20x30, prompts: 1 box, 1 class, " in result.output
    last = f"1 of 1 case answered: {tmp_path}/out/CT_\\x1b[31m[red]:heart:\\n.npz"
    assert result.output.splitlines()[-1] == last
    assert "\x1b" not in result.output
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "no\x1b[2J"), str(tmp_path)])
    assert result.exit_code == 2
    assert "no\\x1b[2J: no such file or folder" in result.output
