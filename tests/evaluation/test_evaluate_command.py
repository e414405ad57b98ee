import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.case import Case, write_case
from lexor.cli import app

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "mobilenet3d.safetensors"
runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, ball_case: Case) -> Path:
    """The ball as CT_a_1, CT_a_2 and MR_b_1, with its truth."""
    z, y, x = np.ogrid[:24, :48, :48]
    truth = (((z - 12) / 7) ** 2 + ((y - 22) / 9) ** 2 + ((x - 25) / 9) ** 2 <= 1).astype(np.uint8)
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in ("CT_a_1", "CT_a_2", "MR_b_1"):
        write_case(inputs / f"{name}.npz", replace(ball_case, name=name), labels=truth)
    return inputs


def run(*arguments: object) -> tuple[int, str]:
    result = runner.invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu"])
    return result.exit_code, result.output


def test_all_tables_and_files(folder: Path, tmp_path: Path) -> None:
    status, output = run(
        folder,
        "--by",
        "all",
        "--json",
        tmp_path / "s.json",
        "--csv",
        tmp_path / "s.csv",
        "--weights",
        WEIGHTS,
    )
    assert status == 0, output
    for head in ("| DSC | CT (n=2) | MR (n=1) | macro (n=3) |", "| NSD | CT (n=2)", "| none of these | 3 |"):
        assert head in output
    assert "| CT_a | 2 |" in output
    scores = json.loads((tmp_path / "s.json").read_text())
    # Half axes 7, 9, 9, in a box of 15, 19, 19: that is .838 of the ellipsoid and .439 of the box.
    assert scores["DSC"]["inscribed ellipsoid"]["macro"] == pytest.approx(2 * 0.838 / 1.838, abs=0.01)
    assert scores["DSC"]["filled box"]["CT"] == pytest.approx(2 * 0.439 / 1.439, abs=0.01)
    assert scores["NSD"]["inscribed ellipsoid"]["macro"] == 1
    assert scores["DSC"]["Lexor"]["CT"] > 0.8
    assert scores["NSD"]["Lexor"]["CT"] > 0.8
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 4


def test_some_sources_and_a_limit(folder: Path) -> None:
    status, output = run(folder, "--sources", "CT_a", "--limit", "1", "--by", "source")
    assert status == 0, output
    assert "| CT_a | 1 |" in output
    assert "MR_b" not in output
    assert "| DSC |" not in output


def test_an_unknown_source_is_said(folder: Path) -> None:
    status, output = run(folder, "--sources", "CT_x")
    assert status == 2
    assert "'CT_x' has no case here; there are CT_a, MR_b" in output


def test_unreadable_weights_are_said(folder: Path, tmp_path: Path) -> None:
    status, output = run(folder, "--weights", tmp_path / "none.safetensors")
    assert status == 2
    assert "none.safetensors" in output
