"""Where answers go: nothing but an older answer is ever replaced or removed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.inference.answers import check_answers, check_place, remove_answer

CUBE = np.ones((2, 2, 2), np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Cases a and b, and an empty folder."""
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    for name in "ab":
        np.savez(inputs / f"{name}.npz", imgs=CUBE)
    return inputs, outputs


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check(inputs: Path, outputs: Path) -> None:
    check_answers(sorted(inputs.iterdir()), outputs)


def test_older_answers_are_replaced_and_the_folder_is_made(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    np.savez(outputs / "a.npz", segs=CUBE)
    check(inputs, outputs)
    check(inputs, outputs / "new" / "one")
    assert sorted(path.name for path in outputs.iterdir()) == ["a.npz", "new"]
    assert list((outputs / "new" / "one").iterdir()) == []


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_link_between_the_folders_costs_a_case(folders: tuple[Path, Path], link: object) -> None:
    inputs, outputs = folders
    for name, other in ("ab", "ba"):
        (inputs / f"{name}.npz").rename(outputs / f"{other}.npz")
    for name, other in ("ab", "ba"):
        link(outputs / f"{other}.npz", inputs / f"{name}.npz")  # type: ignore[operator]
    before = contents(outputs)
    with pytest.raises(
        CaseError, match=r"out/a\.npz: the answers would replace the cases; give another folder"
    ):
        check(inputs, outputs)
    assert contents(outputs) == before


def test_even_a_case_that_looks_like_an_answer_is_not_replaced(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    np.savez(outputs / "b.npz", segs=CUBE)
    (inputs / "a.npz").unlink()
    (inputs / "a.npz").symlink_to(outputs / "b.npz")
    with pytest.raises(CaseError, match=r"out/b\.npz: the answers would replace the cases"):
        check(inputs, outputs)


def test_truths_of_the_same_names_end_the_run_before_it_begins(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    np.savez(outputs / "b.npz", gts=CUBE)
    with pytest.raises(
        CaseError, match=r"out/b\.npz: holds \['gts'\], so it is no answer; give another folder"
    ):
        check(inputs, outputs)
    np.savez(outputs / "b.npz", segs=CUBE, spacing=CUBE)
    with pytest.raises(CaseError, match=r"holds \['segs', 'spacing'\], so it is no answer"):
        check(inputs, outputs)


def test_two_cases_with_one_answer_are_refused(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    np.savez(inputs / "c.npz", imgs=CUBE)
    (inputs / "c.npz").rename(inputs / "a.NPZ")
    with pytest.raises(CaseError, match=r"in/a\.npz: has the answer of a\.NPZ; rename one of them"):
        check(inputs, outputs)


def test_a_folder_that_cannot_be_written_is_noticed(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    (outputs / "file").touch()
    # Not even root makes a file in /sys.
    for place in (Path("/sys"), outputs / "file", outputs / "file" / "inner"):
        with pytest.raises(CaseError, match=f"{place}: no answer can be written there .*; give a folder"):
            check(inputs, place)


def damaged(path: Path) -> None:
    np.savez(path, segs=CUBE)
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    "make",
    [
        Path.touch,
        damaged,
        Path.mkdir,
        os.mkfifo,
        lambda path: path.write_bytes(b"something else"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: np.savez(path),
    ],
)
def test_what_is_not_known_for_an_answer_fails_its_own_case_and_stays(
    make: object, folders: tuple[Path, Path]
) -> None:
    inputs, outputs = folders
    answer = outputs / "a.npz"
    make(answer)  # type: ignore[operator]
    check(inputs, outputs)
    with pytest.raises(CaseError, match=r"out/a\.npz: what is there is no answer .*; move it away"):
        check_place(answer)
    remove_answer(answer)
    assert os.path.lexists(answer)


def test_an_answer_is_removed(tmp_path: Path) -> None:
    answer = tmp_path / "a.npz"
    check_place(answer)
    remove_answer(answer)
    np.savez_compressed(answer, segs=CUBE)
    check_place(answer)
    remove_answer(answer)
    assert not answer.exists()
