"""What a cold `lexor predict` of one box does not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lexor.io.case import Case, write_case

CODE = """
import sys
from lexor.cli import app
app(sys.argv[1:], standalone_mode=False)
print([name for name in ("scipy", "matplotlib", "rich", "nibabel", "SimpleITK", "pydicom") if name in sys.modules])
"""


@pytest.mark.slow
def test_one_box_loads_nothing_that_it_does_not_use(tmp_path: Path, ball_case: Case) -> None:
    (tmp_path / "in").mkdir()
    write_case(tmp_path / "in" / "CT_ball.npz", ball_case)
    arguments = ["predict", str(tmp_path / "in"), str(tmp_path / "out"), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answered, *_, loaded = done.stdout.splitlines()
    assert answered.startswith("CT_ball.npz: 24x48x48, prompts: 1 box")
    assert loaded == "[]"
