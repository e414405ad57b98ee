import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.io.case import Case, write_case

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


@pytest.mark.slow
def test_all_tables_and_files(folder: Path, tmp_path: Path) -> None:
    arguments = (folder, "--by", "all", "--clicks", 2, "--weights", WEIGHTS, "--csv", tmp_path / "s.csv")
    files = ("--json", tmp_path / "s.json", "--label-csv", tmp_path / "labels.csv")
    status, output = run(*arguments, *files)
    assert status == 0, output
    heads = ["| DSC | CT (n=2) | MR (n=1) | macro (n=3) |", "| NSD | CT (n=2)", "| none of these | 3 |"]
    heads += ["| DSC, from boxes | CT (2 cases) | MR (1 case) | macro (3 cases) |", "| 2 clicks |"]
    for head in [*heads, "| NSD, from boxes |", "| CT_a | 2 |"]:
        assert head in output
    scores = json.loads((tmp_path / "s.json").read_text())
    # Half axes 7, 9, 9, in a box of 15, 19, 19: that is .838 of the ellipsoid and .439 of the box.
    assert scores["DSC"]["inscribed ellipsoid"]["macro"] == pytest.approx(2 * 0.838 / 1.838, abs=0.01)
    assert scores["DSC"]["filled box"]["CT"] == pytest.approx(2 * 0.439 / 1.439, abs=0.01)
    assert scores["NSD"]["inscribed ellipsoid"]["macro"] == 1
    assert scores["DSC"]["Lexor"]["CT"] > 0.8
    assert scores["NSD"]["Lexor"]["CT"] > 0.8
    runs = scores["interactive"]["from boxes"]
    assert runs["cases"] == {"CT": 2, "MR": 1, "macro": 3}
    assert runs["DSC"]["box"]["CT"] == scores["DSC"]["Lexor"]["CT"]
    assert runs["DSC"]["AUC"]["MR"] == pytest.approx(
        (runs["DSC"]["1 click"]["MR"] + runs["DSC"]["2 clicks"]["MR"]) / 2, abs=1e-4
    )
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 4
    table = (tmp_path / "s.csv").read_text()
    assert table.startswith("CaseName,TotalRunningTime,RunningTime_1,")
    assert len(table.splitlines()) == 4
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 4

    # Again: nothing is run, so that even the seconds are the same.
    assert run(*arguments)[1].splitlines() == output.splitlines()
    assert (tmp_path / "s.csv").read_text() == table
    status, output = run(*arguments[:3], "--clicks", 1, *arguments[5:])
    assert status == 2
    assert "s.jsonl: holds results for clicks 2, not 1" in output


def test_automatic_prompts_go_without_clicks(folder: Path) -> None:
    status, output = run(folder, "--prompt", "auto", "--clicks", 3)
    assert (status, output) == (
        2,
        "error: --clicks 3: automatic prompts are scored without clicks; leave it out\n",
    )


def test_files_that_cannot_be_written_are_told_before_the_work(folder: Path, tmp_path: Path) -> None:
    for option in ("--csv", "--label-csv", "--json"):
        status, output = run(folder, option, tmp_path / "absent" / "file")
        assert status == 2
        assert output.startswith("error: ")
        assert "there is no folder" in output
    status, output = run(folder, "--gts", tmp_path / "absent")
    assert (status, output) == (
        2,
        f"error: --gts {tmp_path / 'absent'}: no such folder; give the one that holds the truths\n",
    )


@pytest.mark.slow
def test_boxes_alone_clicks_alone_and_automatic_boxes(folder: Path) -> None:
    one = ("--sources", "MR_b")
    status, output = run(folder, "--clicks", 0, *one)
    assert status == 0, output
    assert "| DSC | MR (n=1) | macro (n=1) |" in output
    assert "from" not in output
    status, output = run(folder, "--no-boxes", "--clicks", 1, *one)
    assert status == 0, output
    assert "| DSC, from clicks alone | MR (1 case) | macro (1 case) |" in output
    assert "filled box" not in output
    status, output = run(folder, "--prompt", "intensity", *one)
    assert status == 0, output
    assert "| Algorithm 1's box, best-matching label | 0." in output
    status, output = run(folder, "--prompt", "auto", "--top", 2, *one)
    assert status == 0, output
    assert "| best of the first 2 | 0." in output
    assert "| IoU of mask and label, as expected | 0." in output
    assert "| one automatic box, best-matching label | 0." in output
    assert "| the paper's, manual, on its own data | 0.30 |" in output
    assert "clicks" not in output


def test_a_bad_case_is_counted(folder: Path) -> None:
    (folder / "CT_a_1.npz").write_bytes(b"PK")
    status, output = run(folder, "--clicks", 0)
    assert status == 1
    assert "CT_a_1: FAILED: CT_a_1.npz" in output
    assert "1 of 3 cases could not be scored" in output
    assert "| DSC | CT (n=1) | MR (n=1) | macro (n=2) |" in output


def test_some_sources_and_a_limit(folder: Path) -> None:
    status, output = run(folder, "--sources", "CT_a", "--limit", "1", "--by", "source", "--clicks", 0)
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
