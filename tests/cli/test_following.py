"""What `lexor predict` leaves and prints beside its answers, and how it goes on."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lexor.cli import app
from lexor.cli.following import conclude, follow
from lexor.inference.batch import predict_files
from lexor.inference.outcome import Outcome
from lexor.inference.prediction import Prediction
from lexor.inference.runlog import LOG, head_of, read_run
from lexor.inference.targets import resolve_targets
from lexor.io.case import Case, read_labels, write_case
from lexor.viewing.extras import Extras

HEAD = head_of("mobilenet3d", {"file": "a", "sha256": "0" * 64, "certainty": 1.0}, "cpu", {"prompt": "given"})


class Filling:
    """Answers with filled boxes, and counts."""

    def __init__(self, stop_at: int = 0) -> None:
        self.count, self.stop_at = 0, stop_at

    def segment(self, case: Case, *_: Any, **__: Any) -> Prediction:
        self.count += 1
        if self.count == self.stop_at:
            raise KeyboardInterrupt
        labels = np.zeros(case.volume.shape, np.uint8)
        for index, box in enumerate(case.boxes, start=1):
            assert box is not None
            labels[box.slices] = index
        return Prediction(labels, tuple(resolve_targets(case)[0]), (), 0.0)


@pytest.fixture
def folders(tmp_path: Path, ball_case: Case) -> tuple[Path, Path]:
    """Three cases, and a file that is none."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in ("CT_a", "CT_b", "CT_c"):
        write_case(inputs / f"{name}.npz", replace(ball_case, name=name))
    (inputs / "CT_bad.npz").write_bytes(b"PK")
    return inputs, tmp_path / "out"


def outcomes(
    folders: tuple[Path, Path],
    predictor: Filling,
    head: dict[str, Any] = HEAD,
    resume: bool = False,
    logged: bool = True,
) -> Iterator[Outcome]:
    inputs, outputs = folders
    found: Any = predictor
    return predict_files(
        sorted(inputs.glob("*.npz")), outputs, found, head=head, logged=logged, resume=resume
    )


def test_statistics_pictures_and_run_json(folders: tuple[Path, Path], tmp_path: Path) -> None:
    extras = Extras(HEAD, tmp_path / "s.csv", True, tmp_path / "run.json")
    tally = follow(outcomes(folders, Filling()), 4, extras)
    assert (tally.answered, tally.kept, tally.problems, tally.status) == (3, 0, 0, None)
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["CT_a", "CT_b", "CT_c"]
    # The box of the ball: 15 x 19 x 19 voxels of a cubic millimetre.
    assert {(row["voxels"], row["volume_ml"], row["z_min"], row["z_max"]) for row in rows} == {
        ("5415", "5.415", "5", "19")
    }
    assert sorted(path.name for path in folders[1].iterdir()) == sorted(
        [f"CT_{name}.{kind}" for name in "abc" for kind in ("npz", "png")] + [LOG]
    )
    run = read_run(tmp_path / "run.json")
    assert {key: run.head[key] for key in HEAD} == HEAD
    assert [(record.case, record.answered) for record in run.cases] == [
        ("CT_a", True),
        ("CT_b", True),
        ("CT_bad", False),
        ("CT_c", True),
    ]
    assert run.cases[0].prompts[0]["from"] == "box"
    assert run.cases[2].error is not None
    assert read_run(folders[1]).cases == run.cases


def test_what_was_answered_is_passed_over_until_something_changes(
    folders: tuple[Path, Path], ball_case: Case, tmp_path: Path
) -> None:
    list(outcomes(folders, Filling()))
    before = {path: path.stat().st_mtime_ns for path in folders[1].glob("*.npz")}

    def again(head: dict[str, Any] = HEAD, resume: bool = True) -> list[str]:
        """The cases that are answered anew."""
        found = list(outcomes(folders, Filling(), head, resume))
        assert sum(outcome.error is not None for outcome in found) == 1
        assert all(outcome.record is not None for outcome in found)
        return [outcome.source.stem for outcome in found if not outcome.kept and outcome.error is None]

    assert again() == []
    assert {path: path.stat().st_mtime_ns for path in folders[1].glob("*.npz")} == before
    write_case(folders[0] / "CT_b.npz", replace(ball_case, volume=ball_case.volume // 2))
    assert again() == ["CT_b"]
    (folders[1] / "CT_c.npz").unlink()
    assert again() == ["CT_c"]
    np.savez(folders[1] / "CT_a.npz", segs=np.zeros((1, 1, 1), np.uint8))
    assert again() == ["CT_a"]
    other = head_of(
        "mobilenet3d", {"file": "a", "sha256": "0" * 64, "certainty": 1.0}, "cpu", {"prompt": "auto"}
    )
    assert again(other) == ["CT_a", "CT_b", "CT_c"]
    assert again(other) == []
    assert again(other, resume=False) == ["CT_a", "CT_b", "CT_c"]
    # Statistics and pictures of what was passed over come from the files.
    extras = Extras(other, tmp_path / "s.json", True)
    tally = follow(outcomes(folders, Filling(), other, resume=True), 4, extras)
    assert (tally.answered, tally.kept, tally.problems) == (3, 3, 0)
    assert [row["voxels"] for row in json.loads((tmp_path / "s.json").read_text("utf-8"))] == [5415] * 3
    assert (folders[1] / "CT_a.png").is_file()


def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extras = Extras(HEAD, tmp_path / "s.json", False, tmp_path / "run.json")
    tally = follow(outcomes(folders, Filling(stop_at=2)), 4, extras)
    assert (tally.answered, tally.status) == (1, 130)
    with pytest.raises(typer.Exit) as end:
        conclude(tally, "out/")
    assert end.value.exit_code == 130
    assert capsys.readouterr().err == "stopped: 1 of 4 cases answered: out/; --resume goes on\n"
    assert sorted(path.name for path in folders[1].iterdir()) == ["CT_a.npz", LOG]
    assert len(json.loads((tmp_path / "s.json").read_text("utf-8"))) == 1
    assert [record.case for record in read_run(tmp_path / "run.json").cases] == ["CT_a"]
    predictor = Filling()
    found = [outcome.kept for outcome in outcomes(folders, predictor, resume=True)]
    assert (found, predictor.count) == ([True, False, False, False], 2)


def test_sigterm_is_an_end_like_ctrl_c(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def stopped() -> Iterator[Outcome]:
        yield next(outcomes(folders, Filling()))
        raise SystemExit(143)

    tally = follow(stopped(), 4, Extras(HEAD, report=tmp_path / "run.json"))
    assert tally.status == 143
    assert len(read_run(tmp_path / "run.json").cases) == 1


def test_a_picture_that_cannot_be_drawn_costs_no_answer(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folders[1].mkdir()
    (folders[1] / "CT_a.png").write_bytes(b"mine")
    tally = follow(outcomes(folders, Filling()), 4, Extras(HEAD, preview=True))
    assert (tally.answered, tally.problems) == (3, 1)
    assert "CT_a.png: what is there is no picture of Lexor's, and stays" in capsys.readouterr().out
    assert (folders[1] / "CT_a.png").read_bytes() == b"mine"
    with pytest.raises(typer.Exit) as end:
        conclude(replace(tally, total=3), "out/")
    assert end.value.exit_code == 1


def test_a_run_that_cannot_begin_leaves_what_was_there(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("of an earlier run", "utf-8")
    with pytest.raises(ValueError, match="the answers would replace the cases"):
        follow(outcomes((folders[0], folders[0]), Filling()), 4, Extras(HEAD, tmp_path / "s.csv"))
    assert (tmp_path / "s.csv").read_text("utf-8") == "of an earlier run"


def test_without_a_log_none_is_written(folders: tuple[Path, Path], ball_case: Case, tmp_path: Path) -> None:
    list(outcomes(folders, Filling(), logged=False))
    assert not (folders[1] / LOG).exists()
    # Nor beside a single answer that has a name of its own.
    found: Any = Filling()
    target = tmp_path / "answer.npz"
    list(predict_files([folders[0] / "CT_a.npz"], target, found, head=HEAD, logged=True))
    assert not (tmp_path / LOG).exists()
    list(predict_files([folders[0] / "CT_a.npz"], target, found, head=HEAD, logged=True, resume=True))
    assert read_run(tmp_path).cases[0].output == target


def test_a_file_of_another_kind_at_the_logs_place_stays(folders: tuple[Path, Path]) -> None:
    folders[1].mkdir()
    (folders[1] / LOG).write_text("notes of mine", "utf-8")
    with pytest.raises(ValueError, match="is no log of a run"):
        list(outcomes(folders, Filling()))
    assert (folders[1] / LOG).read_text("utf-8") == "notes of mine"


def predict(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--device", "cpu"])


def test_the_command_prints_json_alone_and_resumes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    inputs, outputs = folders
    options = ("--json", "--resume", "--report", tmp_path / "run.json", "--statistics", tmp_path / "s.csv")
    first = predict(inputs, outputs, *options)
    assert first.exit_code == 1
    lines = [json.loads(line) for line in first.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["answered", "answered", "failed", "answered"]
    assert [line["case"] for line in lines] == ["CT_a", "CT_b", "CT_bad", "CT_c"]
    assert first.stderr == f"3 of 4 cases answered: {outputs}/\n"
    head = read_run(tmp_path / "run.json").head
    assert head["options"] == {"prompt": "given", "top": 1}
    assert len(head["weights"]["sha256"]) == 64
    assert head["device"] == "cpu"
    answers = {path: read_labels(path, "segs") for path in outputs.glob("*.npz")}
    second = predict(inputs, outputs, *options)
    assert [json.loads(line)["status"] for line in second.stdout.splitlines()] == [
        *("kept", "kept", "failed", "kept")
    ]
    assert second.stderr == f"3 of 4 cases answered, 3 of them before: {outputs}/\n"
    for path, labels in answers.items():
        np.testing.assert_array_equal(read_labels(path, "segs"), labels)
    (inputs / "CT_bad.npz").unlink()
    third = predict(inputs, outputs, "--resume", "--top", 2)
    assert third.exit_code == 0
    assert third.stdout.count("prompts: 1 box, 1 class") == 3


def test_names_of_files_of_the_run_are_checked_before_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for option, name, expected in (
        ("--statistics", "s.txt", "give a name that ends in .csv or .json"),
        ("--statistics", "none/s.csv", "there is no folder"),
        ("--report", "none/run.json", "there is no folder"),
    ):
        result = predict(*folders, option, tmp_path / name)
        assert result.exit_code == 2
        assert expected in result.output
        assert not folders[1].exists()
