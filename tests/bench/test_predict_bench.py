"""`lexor bench predict`: its cases, its stages, and what it prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.bench import predict, stages
from lexor.bench.cases import KINDS, Sizes, boxed, chosen, write_cases
from lexor.bench.phantoms import body, organ_boxes
from lexor.bench.report import describe, read_report, write_report
from lexor.cli import app
from lexor.errors import CaseError
from lexor.inference.predictor import Predictor

TINY = Sizes(size=(16, 48, 48), large=(20, 64, 64), classes=2, objects=3, count=2)


def test_a_baseline_comes_before_what_refers_to_it() -> None:
    assert [kind.name for kind in chosen(["folder", "classes"])] == ["sequence", "folder", "one", "classes"]
    assert [kind.name for kind in chosen([])] == list(KINDS)
    for kind in KINDS.values():
        assert kind.baseline is None or KINDS[kind.baseline].baseline is None
    with pytest.raises(ValueError, match="no kind 'many'; known are one, classes"):
        chosen(["many"])


def test_boxes_hold_organs_and_there_are_as_many_as_asked_for() -> None:
    case = boxed((40, 96, 96), 40, seed=2)
    assert len(case.boxes) == 40
    assert (case.volume == boxed((40, 96, 96), 40, seed=2).volume).all()
    with pytest.raises(ValueError, match="has room for 0 boxes, not 1"):
        boxed((2, 9, 9), 1)
    # The organ that is painted last is hidden by none: of its own brightness, unlike the body around it.
    volume, box = body((40, 96, 96), seed=2), organ_boxes((40, 96, 96), seed=2)[0]
    z, y, x = (int(place) for place in box.centre)
    inside = volume[z, y - 1 : y + 2, x - 1 : x + 2]
    assert (
        abs(
            float(inside.mean()) - min((15, 60, 90, 130, 160, 190, 250), key=lambda v: abs(v - inside.mean()))
        )
        < 8
    )


def test_the_crop_shows_what_the_large_case_boxes() -> None:
    (large,) = KINDS["large"].make(TINY)
    (crop,) = KINDS["crop"].make(TINY)
    (box,), (moved,) = large.boxes, crop.boxes
    assert box is not None
    assert moved is not None
    assert crop.volume.size < large.volume.size
    np.testing.assert_array_equal(crop.volume[moved.slices], large.volume[box.slices])
    assert moved.z_mid - moved.lower[0] == box.z_mid - box.lower[0]


def test_of_stages_within_one_another_the_innermost_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0])
    monkeypatch.setattr(stages.time, "perf_counter", lambda: next(now))
    waited: list[int] = []
    clock = stages.Stages(lambda: waited.append(1))
    with clock.stage("prompt"):
        with clock.stage("network"):
            pass
        with clock.stage("resample"):
            pass
    assert {name: seconds for name, seconds in clock.seconds.items() if seconds} == {
        "prompt": 1.0 + 4.0 + 16.0,
        "network": 2.0,
        "resample": 8.0,
    }
    assert clock.total == 31.0
    assert len(waited) == 5


def test_what_is_watched_is_as_it_was_afterwards() -> None:
    predictor = Predictor(device="cpu")
    owners = [owner for owner, _, _ in stages._CALLS] + [predictor.runner.model]
    before = [dict(vars(owner)) for owner in owners]
    case = boxed(TINY.size, 2)
    clock = stages.Stages()
    expected = predictor.predict(case)
    with stages.watching(predictor.runner, clock):
        np.testing.assert_array_equal(predictor.predict(case), expected)
    assert [dict(vars(owner)) for owner in owners] == before
    for name in ("prompt", "network", "resample", "merge", "prepare"):
        assert clock.seconds[name] > 0, name
    assert clock.seconds["network"] > 0.5 * clock.total


def test_a_row_has_all_that_the_seconds_were_spent_on(tmp_path: Path) -> None:
    kind = KINDS["one"]
    paths = write_cases(kind, TINY, tmp_path / "inputs")
    settings = predict.Settings(device="cpu", repeats=1, sizes=TINY, isolated=False)
    row = predict.run("one", paths, settings)
    assert sum(row.stages.values()) == pytest.approx(row.seconds, rel=0.05, abs=0.02)
    assert row.stages["prompt"] > 0
    assert row.first == row.seconds
    assert (row.cases, row.shape, row.classes, row.peak) == (1, TINY.size, 1, None)
    assert (tmp_path / "outputs" / paths[0].name).exists()
    found = predict.report([row], settings)
    write_report(tmp_path / "report.json", found)
    assert read_report(tmp_path / "report.json") == json.loads(json.dumps(found))
    assert "one       one box: 16x48x48, 1 classes" in describe(found)
    assert "baseline" in describe(found)


def test_a_file_that_is_no_report_is_told(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    for text, reason in (
        ("{", "cannot be read"),
        ("[]", "key bench names none of predict, gpu"),
        ('{"bench": "predict", "rows": 3}', "not as this version writes them"),
    ):
        file.write_text(text)
        result = CliRunner().invoke(app, ["bench", "report", str(file)])
        assert result.exit_code == 2
        assert reason in result.output
    with pytest.raises(CaseError, match="no_such"):
        read_report(tmp_path / "no_such.json")


@pytest.mark.slow
def test_the_command_compares_with_baselines_of_the_same_run(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    sizes = ["--size", "16x48x48", "--classes", "2", "--count", "2", "--repeats", "1"]
    arguments = ["bench", "predict", "classes", *sizes, "--device", "cpu", "--out", str(file)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = read_report(file)
    one, classes = found["rows"]
    assert (one["kind"], one["ratio"], one["classes"]) == ("one", None, 1)
    assert classes["ratio"] == pytest.approx(classes["seconds"] / one["seconds"])
    assert classes["processor_ratio"] == pytest.approx(classes["processor"] / one["processor"])
    assert classes["peak"] is None or 1e8 < classes["peak"] < 4e9
    assert set(asdict(predict.Row(**one))) == set(one)
    printed = CliRunner().invoke(app, ["bench", "report", str(file)])
    assert printed.output == result.output


def test_the_command_names_a_size_that_is_none() -> None:
    result = CliRunner().invoke(app, ["bench", "predict", "one", "--size", "96,256,256"])
    assert result.exit_code == 2
    assert "give slices x rows x columns" in result.output
