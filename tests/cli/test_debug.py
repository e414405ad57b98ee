import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lexor.cli import app


def lexor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lexor.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_error_is_a_line_and_with_debug_a_traceback_as_well(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.npz")
    plain = lexor("prompt", absent)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == f"error: {absent}: no such file; give the path of a .npz file\n"
    shown = lexor("prompt", absent, "--debug")
    assert shown.returncode == 2
    assert "Traceback (most recent call last)" in shown.stderr
    assert shown.stderr.endswith(plain.stderr)


def test_what_nobody_foresaw_is_a_line_too() -> None:
    code = (
        "import sys; from lexor.cli import command; from lexor.cli.debug import with_debug;"
        "command.app.command('boom')(with_debug(lambda: {}['key'])); command.main()"
    )
    for options, traceback in (((), False), (("--debug",), True)):
        done = subprocess.run(
            [sys.executable, "-c", code, "boom", *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 3
        assert "error: KeyError: 'key'; this is a fault of Lexor's own" in done.stderr
        assert ("Traceback" in done.stderr) is traceback


def test_every_command_has_the_option_and_keeps_its_own() -> None:
    for command in (["predict"], ["report"], ["models"], ["weights", "verify"], ["bench", "prompts"]):
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert "--debug" in result.output
    text = " ".join(CliRunner().invoke(app, ["export", "--help"]).output.split())
    assert "--licence <str> Of the weights: the most demanding" in text
    assert "--share <float range>" in text


def test_the_shell_completes_commands_and_options() -> None:
    code = "import sys; sys.argv = ['lexor']; from lexor.cli import main; main()"

    def complete(words: str, index: int) -> list[str]:
        environment = {
            **os.environ,
            "_LEXOR_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(index),
        }
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
        return done.stdout.split()

    assert complete("lexor pre", 1) == ["predict"]
    assert "--weights" in complete("lexor predict --w", 2)
