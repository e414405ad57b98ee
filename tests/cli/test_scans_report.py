"""From scans to a report by the commands: DICOM, NIfTI and a challenge case in one folder."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.inference.runlog import read_run
from lexor.io.case import Case, write_case
from scan_files import affine, write_series


def lexor(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def scans(tmp_path: Path, ball_case: Case) -> Path:
    """The ball in Hounsfield units as a DICOM series and as NIfTI, and in grey values as a challenge case."""
    folder = tmp_path / "scans"
    units = (ball_case.volume / 255 * 400 - 160).astype(np.int16)
    write_series(folder / "series", units, affine((2.0, 1.0, 1.0)))
    nibabel.save(
        nibabel.Nifti1Image(units.transpose(2, 1, 0), np.diag([-1, -1, 2, 1.0])), folder / "CT_nifti.nii.gz"
    )
    write_case(folder / "CT_case.npz", replace(ball_case, name="CT_case"))
    return folder


@pytest.mark.slow
def test_from_scans_to_a_report(scans: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    options = ("--device", "cpu", "--statistics", tmp_path / "s.csv", "--preview", "--json", "--resume")
    # Faster than to try two dozen candidates.
    options += ("--prompt", "intensity")
    first = lexor("predict", scans, out, *options)
    assert first.exit_code == 0, first.output
    assert [json.loads(line)["status"] for line in first.stdout.splitlines()] == ["answered"] * 3
    assert sorted(path.name for path in out.iterdir()) == [
        *("CT_case.npz", "CT_case.png", "CT_nifti.nii.gz", "CT_nifti.png"),
        *("lexor-run.jsonl", "series.png", "series.seg.dcm"),
    ]
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert {name: row["unit"] for name, row in rows.items()} == {
        "CT_case": "grey value 0-255",
        "CT_nifti": "HU",
        "series": "HU",
    }
    # The ball is brighter than its surroundings by 188 HU, and has some 2.4 ml (x2: slices are 2 mm apart).
    for name in ("CT_nifti", "series"):
        assert 60 < float(rows[name]["mean"]) < 140
        assert 2.5 < float(rows[name]["volume_ml"]) < 7
    statistics = (tmp_path / "s.csv").read_bytes()
    second = lexor("predict", scans, out, *options)
    assert [json.loads(line)["status"] for line in second.stdout.splitlines()] == ["kept"] * 3
    # Of answers that are read from DICOM-SEG, NIfTI and .npz.
    again = (tmp_path / "s.csv").read_bytes()
    assert [row.split(b",")[3:5] for row in again.splitlines()] == [
        row.split(b",")[3:5] for row in statistics.splitlines()
    ]
    (scans / "series" / "0003.dcm").unlink()
    third = lexor("predict", scans, out, *options)
    status = {json.loads(line)["case"]: json.loads(line)["status"] for line in third.stdout.splitlines()}
    assert (status["CT_case"], status["CT_nifti"]) == ("kept", "kept")
    assert status["series"] != "kept"
    made = lexor("report", out, page, "--truth", out)
    assert made.exit_code == 0, made.output
    text = page.read_text("utf-8")
    scored = [record for record in read_run(out).cases if record.answered]
    assert text.count('data-label="DSC" data-value="1"') == len(scored)
    assert text.count("<img ") == len(scored)


def test_prompts_and_reading_of_the_command_are_what_a_report_draws(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("predict", scans / "CT_nifti.nii.gz", out, "--box", "5,13,16,19,31,34", "--click", "12,22,25")
    result = lexor(*command, "--name", "ball <b>", "--window", "bone", "--device", "cpu")
    assert result.exit_code == 0, result.output
    run = read_run(out)
    (record,) = run.cases
    assert run.head["options"]["window"] == "bone"
    assert run.head["options"]["box"] == ["5,13,16,19,31,34"]
    assert record.names == ((1, "ball <b>"),)
    assert record.prompts[0]["box"]["z_max"] == 19
    assert record.prompts[0]["clicks"] == {"fg": [[12, 22, 25]], "bg": []}
    assert lexor("report", out, tmp_path / "page.html").exit_code == 0
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "ball &lt;b&gt;" in text
    assert "box + 1 click" in text
