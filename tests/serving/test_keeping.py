"""Unfinished work: what is written is read again, and nothing else is taken for it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.inference.marks import Mark, Prompts
from lexor.io.npz import NpzReader, write_npz
from lexor.serving.keeping import Keeper, Look, Work, key_of, read_work, write_work

SHAPE = (4, 5, 6)


def some_work() -> Work:
    rng = np.random.default_rng(0)
    marks = (
        Mark(np.array([[1, 2, 3], [1, 2, 4]]), True),
        Mark(np.array([[0, 0, 0]]), False),
    )
    prompts = (
        Prompts(Box((0, 1, 2), (3, 4, 5), 1), True, Clicks(((1, 2, 3),), (False,)), marks, locked=True),
        Prompts(),
    )
    looks = (Look("Leber <b>", "#aabbcc"), Look.usual(2))
    return Work("key", "mask", prompts, looks, 2, rng.integers(0, 3, SHAPE, np.uint8), saved=True)


def test_work_is_read_as_it_was_written(tmp_path: Path) -> None:
    work = some_work()
    write_work(tmp_path / "a.npz", work)
    found = read_work(tmp_path / "a.npz", SHAPE)
    np.testing.assert_array_equal(found.labels, work.labels)
    for name in ("key", "began", "looks", "current", "saved"):
        assert getattr(found, name) == getattr(work, name)
    for read, written in zip(found.prompts, work.prompts, strict=True):
        assert (read.box, read.guessed, read.clicks, read.locked) == (
            written.box,
            written.guessed,
            written.clicks,
            written.locked,
        )
        assert [mark.positive for mark in read.marks] == [mark.positive for mark in written.marks]
        for mark, other in zip(read.marks, written.marks, strict=True):
            np.testing.assert_array_equal(mark.voxels, other.voxels)


def changed(said: dict[str, Any], **values: object) -> dict[str, Any]:
    return {**said, **values}


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: changed(said, objects=[]),
        lambda said: changed(said, objects=said["objects"] * 128),
        lambda said: changed(said, objects=7),
        lambda said: {"key": "no more"},
        lambda said: changed(said, objects=[{**said["objects"][0], "colour": "red; background: url(x)"}]),
        lambda said: changed(said, objects=[{**said["objects"][0], "name": "a\nb"}]),
        lambda said: changed(said, objects=[{**said["objects"][0], "box": [5, 5, 5, 1, 1, 1, 0]}]),
        lambda said: changed(said, objects=[{**said["objects"][0], "marks": [[900, True]]}]),
        lambda said: changed(said, objects=[{**said["objects"][0], "box": [0, 0, 0, 9, 9, 9, 0]}]),
        lambda said: changed(said, objects=[{**said["objects"][0], "points": [[0, 0, 99]]}]),
        lambda said: changed(said, objects=said["objects"][:1]),
        lambda said: [[[]]],
    ],
)
def test_what_is_no_work_is_told_in_a_line(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "a.npz"
    write_work(path, some_work())
    with NpzReader(path) as file:
        arrays = {key: file.array(key) for key in ("said", "marked", "labels")}
    arrays["said"] = np.frombuffer(
        json.dumps(damage(json.loads(arrays["said"].tobytes()))).encode(), np.uint8
    )
    write_npz(path, arrays)
    with pytest.raises(CaseError, match=r"^a\.npz: holds no work of the viewer \(.*\); move it away$"):
        read_work(path, SHAPE)


def test_another_scans_work_and_a_file_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_work(path, some_work())
    with pytest.raises(CaseError, match="it is another scan's"):
        read_work(path, (4, 5, 7))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CaseError, match=r"^a\.npz: "):
        read_work(path, SHAPE)


def test_a_key_tells_contents_shapes_and_types_apart() -> None:
    zeros = np.zeros((2, 3), np.uint8)
    other = zeros.copy()
    other[1, 2] = 1
    keys = [key_of(each) for each in (zeros, other, zeros.reshape(3, 2), zeros.astype(np.uint16))]
    keys += [key_of(zeros, other), key_of(other, zeros)]
    assert len(set(keys)) == len(keys)
    assert key_of(zeros.T) == key_of(np.zeros((3, 2), np.uint8))


def test_a_keeper_writes_what_there_is_at_last(tmp_path: Path) -> None:
    counts = iter(range(100))

    def work() -> Work:
        labels = np.full(SHAPE, next(counts), np.uint8)
        return Work("key", "", (Prompts(),), (Look.usual(1),), 1, labels)

    path = tmp_path / "a.npz"
    keeper = Keeper(path, work, pause=0.01)
    assert not path.exists()
    keeper.touch()
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read_work(path, SHAPE).labels.max() == 0
    keeper.touch()
    keeper.close()
    assert read_work(path, SHAPE).labels.max() == 1
    keeper = Keeper(tmp_path / "none" / "a.npz", work, pause=0.01)
    keeper.touch()
    keeper.close()
    assert keeper.problem.startswith("a.npz cannot be written (No such file")


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "x" * 61])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(CaseError, match="give 1 to 60 characters"):
        Look(name, "#000000")
    assert Look.named(name, "#000000").name


@pytest.mark.parametrize("colour", ["red", "#fff", "#GGGGGG", "#00000000", "#000000;"])
def test_what_is_no_colour(colour: str) -> None:
    with pytest.raises(CaseError, match="give one like #f2a541"):
        Look("a", colour)
