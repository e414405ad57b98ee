import json
from pathlib import Path

import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.inference.runlog import (
    LOG,
    CaseRecord,
    Run,
    RunLog,
    hash_of,
    head_of,
    key_of,
    prompt_of,
    read_run,
    write_run,
)
from lexor.inference.targets import AutomaticBox, box_target, resolve_targets
from lexor.io.case import Case

WEIGHTS = {"file": "a.safetensors", "sha256": "0" * 64, "certainty": 0.7}
HEAD = head_of("mobilenet3d", WEIGHTS, "cpu", {"prompt": "given"})


def answered(folder: Path, name: str = "CT_a") -> CaseRecord:
    """The record of an answer that is there."""
    source, output = folder / "in" / f"{name}.npz", folder / "out" / f"{name}.npz"
    for path in (source, output):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{path.parent.name} {name}".encode())
    return CaseRecord(
        name,
        source,
        output,
        True,
        warnings=("CT_a.npz: odd",),
        seconds=1.5,
        shape=(2, 3, 4),
        prompts=({"label": 1, "from": "box", "box": {"z_min": 1}},),
        input=hash_of(source),
        answer=hash_of(output),
        key=HEAD["key"],
        names=((1, "liver"),),
    )


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = answered(tmp_path)
    RunLog(tmp_path / "out", HEAD).add(record)
    assert read_run(tmp_path / "out") == Run(HEAD, (record,))
    assert "../in/CT_a.npz" in (tmp_path / "out" / LOG).read_text("utf-8")
    write_run(tmp_path / "run.json", Run(HEAD, (record,)))
    assert read_run(tmp_path / "run.json") == Run(HEAD, (record,))
    value = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert value["cases"][0]["source"] == "in/CT_a.npz"
    assert value["versions"]["python"].startswith("3.")
    # Moved as a whole, it still leads to its cases.
    (tmp_path / "moved").mkdir()
    for part in ("in", "out"):
        (tmp_path / part).rename(tmp_path / "moved" / part)
    (moved,) = read_run(tmp_path / "moved" / "out").cases
    assert moved.source == tmp_path / "moved" / "in" / "CT_a.npz"


def test_an_answer_counts_as_finished_while_nothing_has_changed(tmp_path: Path) -> None:
    record = answered(tmp_path)
    source, output, folder = record.source, record.output, tmp_path / "out"
    RunLog(folder, HEAD).add(record)

    def finished(head: dict[str, object] = HEAD) -> bool:
        return RunLog(folder, head).finished(source, output, hash_of(source)) is not None

    assert finished()
    assert RunLog(folder, HEAD).finished(source, output, hash_of(source)) == record
    assert not finished(head_of("mobilenet3d", WEIGHTS, "cpu", {"prompt": "auto"}))
    assert not finished(head_of("mobilenet3d", {**WEIGHTS, "sha256": "1" * 64}, "cpu", {"prompt": "given"}))
    assert finished(head_of("mobilenet3d", {**WEIGHTS, "file": "b"}, "cuda", {"prompt": "given"}))
    before = source.read_bytes()
    source.write_bytes(b"another")
    assert not finished()
    source.write_bytes(before)
    assert finished()
    output.write_bytes(b"edited")
    assert not finished()
    output.unlink()
    assert not finished()


def test_a_later_failure_takes_the_place_of_an_answer(tmp_path: Path) -> None:
    record = answered(tmp_path)
    log = RunLog(tmp_path / "out", HEAD)
    log.add(record)
    log.add(CaseRecord("CT_a", record.source, record.output, False, "CT_a.npz: odd"))
    assert [one.error for one in read_run(log.path).cases] == ["CT_a.npz: odd"]
    assert RunLog(tmp_path / "out", HEAD).finished(record.source, record.output, record.input) is None


def test_a_line_that_was_half_written_costs_no_other(tmp_path: Path) -> None:
    first, second = answered(tmp_path, "CT_a"), answered(tmp_path, "CT_b")
    log = RunLog(tmp_path / "out", HEAD)
    log.add(first)
    whole = log.path.read_bytes()
    log.add(second)
    line = log.path.read_bytes()[len(whole) :]
    for cut in (1, len(line) // 2, len(line) - 1):
        log.path.write_bytes(whole + line[:cut])
        resumed = RunLog(tmp_path / "out", HEAD)
        assert resumed.finished(first.source, first.output, first.input) == first
        # The last byte of a line is its end: without it the record is whole.
        kept = resumed.finished(second.source, second.output, second.input)
        assert (kept is not None) is (cut == len(line) - 1)
        resumed.add(second)
        assert [record.case for record in read_run(log.path).cases] == ["CT_a", "CT_b"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON\n",
        "[1]\n",
        '{"case": {}}\n',
        '{"run": 3}\n',
        '{"run": {}}\n{"case": {"case": 3}}\n',
        '{"run": {}}\n{"odd": 1}\n',
        "[" * 100_000,
    ],
)
def test_what_is_no_log_is_refused_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / LOG
    path.write_text(text, "utf-8")
    for use in (lambda: read_run(tmp_path), lambda: RunLog(tmp_path, HEAD)):
        with pytest.raises(CaseError, match=f"{LOG}: is no log of a run .*; move it away"):
            use()
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seconds", "1"),
        ("shape", [1, 2]),
        ("shape", ["a", 1, 2]),
        ("prompts", [3]),
        ("names", [3]),
        ("error", 3),
        ("answered", 1),
    ],
)
def test_a_record_of_other_kinds_is_refused(tmp_path: Path, key: str, value: object) -> None:
    record = answered(tmp_path).to_dict(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**HEAD, "cases": [{**record, key: value}]}), "utf-8")
    with pytest.raises(CaseError, match=r"run.json: is no log of a run"):
        read_run(tmp_path / "run.json")


def test_a_folder_without_a_log_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=f"there is no {LOG}; give a folder of answers"):
        read_run(tmp_path)
    with pytest.raises(CaseError, match=r"run.json: no such file"):
        read_run(tmp_path / "run.json")


def test_hashes_go_by_content_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(b"one")
        (tmp_path / name / "2.dcm").write_bytes(b"two")
    assert hash_of(tmp_path / "a") == hash_of(tmp_path / "b")
    (tmp_path / "b" / "2.dcm").rename(tmp_path / "b" / "3.dcm")
    assert hash_of(tmp_path / "a") != hash_of(tmp_path / "b")
    header = tmp_path / "scan.mhd"
    header.write_bytes(b"ElementDataFile = scan.raw")
    alone = hash_of(header)
    (tmp_path / "scan.raw").write_bytes(b"12")
    with_voxels = hash_of(header)
    (tmp_path / "scan.raw").write_bytes(b"13")
    assert len({alone, with_voxels, hash_of(header)}) == 3


def test_the_key_depends_on_version_model_weights_and_options() -> None:
    keys = {
        key_of("1", "a", WEIGHTS, {"top": 1}),
        key_of("2", "a", WEIGHTS, {"top": 1}),
        key_of("1", "b", WEIGHTS, {"top": 1}),
        key_of("1", "a", {**WEIGHTS, "certainty": 1.0}, {"top": 1}),
        key_of("1", "a", WEIGHTS, {"top": 2}),
    }
    assert len(keys) == 5
    assert key_of("1", "a", WEIGHTS, {"top": 1}) in keys


def test_prompts_are_told_as_they_were_given() -> None:
    box = Box((1, 2, 3), (4, 6, 8), 2)
    clicks = Clicks(((1, 2, 3), (0, 0, 0)), (True, False))
    case = Case("CT_a", np.zeros((9, 9, 9), np.uint8), None, (box,), (clicks,))
    (target,) = resolve_targets(case)[0]
    assert prompt_of(target) == {
        "label": 1,
        "from": "box",
        "box": box.to_dict(),
        "clicks": {"fg": [[1, 2, 3]], "bg": [[0, 0, 0]]},
    }
    found = prompt_of(box_target(2, AutomaticBox(box, "band", 0.8)))
    assert (found["label"], found["from"], found["kind"], found["confidence"]) == (
        2,
        "automatic",
        "band",
        0.8,
    )
    assert json.loads(json.dumps(found)) == found
