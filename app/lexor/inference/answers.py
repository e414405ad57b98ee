"""Where answers go: a file that is not an answer is never replaced or removed."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from lexor.errors import CaseError, shown

# The keys that an answer may have, sorted.
ANSWERS = (["segs"], ["probabilities", "segs"])


def answer_of(source: Path, outputs: Path) -> Path:
    """The file that a case is answered in."""
    return outputs / f"{source.stem}.npz"


def check_answers(sources: Sequence[Path], outputs: Path) -> None:
    """Makes the folder for the answers, and sees that they can be written there and destroy nothing.

    Raises:
        CaseError: they cannot; or one would take the place of a case, under whatever name, of another answer, or of a
            file that holds other keys. What is there and cannot be read fails its own case alone (`check_place`).
    """
    cases = {_identity(source) for source in sources} - {None}
    answered: dict[Path, Path] = {}
    for source in sources:
        answer = answer_of(source, outputs)
        if answer in answered:
            raise CaseError(f"{source}: has the answer of {answered[answer].name}; rename one of them")
        answered[answer] = source
        if _identity(answer) in cases:
            raise CaseError(f"{answer}: the answers would replace the cases; give another folder for them")
        keys = _keys(answer)
        if keys and keys not in ANSWERS:
            raise CaseError(
                f"{answer}: holds {shown(keys)}, so it is no answer; give another folder for the answers"
            )
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=outputs, prefix=".lexor-"):
            pass
    except OSError as problem:
        raise CaseError(
            f"{outputs}: no answer can be written there ({problem.strerror}); give a folder that can be written"
        ) from None


def check_place(answer: Path) -> None:
    """That nothing is at the place of an answer, or an older answer.

    Raises:
        CaseError: something else is, a damaged answer included: it could be anything.
    """
    if os.path.lexists(answer) and _keys(answer) not in ANSWERS:
        raise CaseError(f"{answer}: what is there is no answer ('segs' alone), and stays; move it away")


def remove_answer(answer: Path) -> None:
    """Removes an answer, and nothing else that may be at its place."""
    if _keys(answer) in ANSWERS:
        answer.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    """The file that a path leads to, by any link; None where it leads to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _keys(path: Path) -> list[str] | None:
    """The keys of an .npz file, None where there is none to be read; opening a pipe would block."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            return sorted(name.removesuffix(".npy") for name in file.namelist())
    except Exception:  # zipfile raises a dozen unrelated types on damaged files
        return None
