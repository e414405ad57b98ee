"""Where answers go, and in which format: a file that is not an answer is never replaced or removed."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lexor.errors import CaseError, shown
from lexor.io.scan import name_of
from lexor.io.scans.label_maps import ENDINGS, format_of_answer, is_written_by_us
from lexor.io.scans.model import Format, SourceFormat
from lexor.io.scans.names import format_of, named_path

# The keys that an answer may have, sorted.
ANSWERS = (["segs"], ["probabilities", "segs"])
# Endings of files that are no format of ours; nobody means a folder by them.
_FOREIGN: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".svg", ".pdf"),
        *(".txt", ".md", ".log", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html"),
        *(".zip", ".gz", ".bz2", ".xz", ".7z", ".tar", ".tgz", ".rar"),
        *(".npy", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".pth", ".safetensors"),
        *(".xls", ".xlsx", ".doc", ".docx", ".ppt", ".pptx"),
        *(".img", ".hdr", ".mgh", ".mgz", ".vtk", ".vti", ".stl", ".obj", ".ply", ".mp4", ".avi", ".raw"),
    }
)
Defaults = Mapping[SourceFormat, Format]
AS_THE_INPUT: Final[Defaults] = {
    **{"nifti": "nifti", "nrrd": "nrrd", "mha": "mha", "tiff": "tiff", "npz": "npz"},
    "dicom": "dicom-seg",
}


@dataclass(frozen=True)
class Answer:
    """The file that a source is answered in, and its format."""

    source: Path
    path: Path
    format: Format


def answers_of(
    sources: Sequence[Path], output: Path, format: Format | None = None, defaults: Defaults = AS_THE_INPUT
) -> list[Answer]:
    """The files that sources are answered in.

    output: a folder; or for one source a file, if it is named as one and no folder. format: None: as the
    source, which of DICOM is a segmentation.
    A folder may have a dot in its name, as `study.2024` or `out.v2`: only well-known endings of files, as .jpg, are
    refused, and these where there is no folder of that name.
    Raises CaseError where a file's name asks for another format or an unknown one, or cannot hold several answers.
    """
    named = None if output.is_dir() else format_of_answer(output)
    if named is not None:
        if len(sources) > 1:
            raise CaseError(f"{output}: one file for {len(sources)} answers; give a folder")
        both = {named, format} <= {"dicom-seg", "rtstruct"}
        if format not in (None, named) and not both:
            raise CaseError(f"{output}: is named as {named}, and --format is {format}; give one of both")
        return [Answer(source, output, format or named) for source in sources]
    if not output.is_dir() and output.suffix.lower() in _FOREIGN:
        raise CaseError(
            f"{output}: {output.suffix} is no format that is written; give a file that ends in "
            f"{', '.join(ENDINGS.values())}, or a folder"
        )
    names = _names(sources)
    chosen = [format or defaults[_kind(source)] for source in sources]
    return [
        Answer(source, output / f"{name}{ENDINGS[kind]}", kind)
        for source, name, kind in zip(sources, names, chosen, strict=True)
    ]


def check_series(answers: Sequence[Answer]) -> None:
    """Raises CaseError where all answers are to be DICOM, and by their names no source is."""
    if all(one.format in ("dicom-seg", "rtstruct") and _kind(one.source) != "dicom" for one in answers):
        raise CaseError(
            f"{answers[0].format} is of a DICOM series, and {answers[0].source.name} is none; give another format"
        )


def check_answers(
    sources: Sequence[Path], outputs: Path, format: Format | None = None, defaults: Defaults = AS_THE_INPUT
) -> list[Answer]:
    """Makes the folder for the answers, and sees that they can be written there and destroy nothing.

    Returns them.

    Raises:
        CaseError: they cannot; or one would take the place of a case, under whatever name, of another answer, or of a
            file that holds other keys. What is there and cannot be read fails its own case alone (`check_place`).
    """
    cases = {_identity(source) for source in sources} - {None}
    answered: dict[Path, Path] = {}
    answers = answers_of(sources, outputs, format, defaults)
    for answer in answers:
        path, source = answer.path, answer.source
        if path in answered:
            raise CaseError(f"{source}: has the answer of {answered[path].name}; rename one of them")
        answered[path] = source
        if _identity(path) in cases:
            raise CaseError(f"{path}: the answers would replace the cases; give another folder for them")
        keys = _keys(path) if answer.format == "npz" else None
        if keys and "imgs" in keys:
            raise CaseError(
                f"{path}: is a challenge case (with {', '.join(map(shown, keys))}), and only answers are replaced; "
                "give another folder or name, or remove it"
            )
        if keys and keys not in ANSWERS:
            raise CaseError(
                f"{path}: holds {shown(keys)}, so it is no answer; give another folder for the answers"
            )
    folder = answers[0].path.parent if answers else outputs
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".lexor-"):
            pass
    except OSError as problem:
        raise CaseError(
            f"{folder}: no answer can be written there ({problem.strerror}); give a folder that can be written"
        ) from None
    return answers


def stem_of(answer: Path) -> str:
    """What an answer is called, without the ending of its format."""
    name = answer.name
    ending = next((ending for ending in ENDINGS.values() if name.lower().endswith(ending)), answer.suffix)
    return name[: len(name) - len(ending)]


def check_place(answer: Path, format: Format = "npz") -> None:
    """That nothing is at the place of an answer, or an older answer.

    Raises:
        CaseError: something else is, a damaged answer included: it could be anything.
    """
    if os.path.lexists(answer) and not _is_answer(answer, format):
        what = "('segs' alone)" if format == "npz" else "of Lexor"
        raise CaseError(f"{answer}: what is there is no answer {what}, and stays; move it away")


def remove_answer(answer: Path, format: Format = "npz") -> None:
    """Removes an answer, and nothing else that may be at its place."""
    if os.path.lexists(answer) and _is_answer(answer, format):
        answer.unlink()


def _is_answer(answer: Path, format: Format) -> bool:
    return _keys(answer) in ANSWERS if format == "npz" else is_written_by_us(answer, format)


def _kind(source: Path) -> SourceFormat:
    """The format that a source has by its name; a folder is DICOM."""
    return "dicom" if source.is_dir() else format_of(source) or "dicom"


def _names(sources: Sequence[Path]) -> list[str]:
    """What each answer is called: as its source; of folders with one name, the folders that they are in as well."""
    folders = [named_path(source) for source in sources if source.is_dir()]
    found = []
    for source in sources:
        name = name_of(source)
        if source.is_dir():
            parts = named_path(source).parts
            depth = 1
            while sum(other.parts[-depth:] == parts[-depth:] for other in folders) > 1 and depth < len(parts):
                depth += 1
            name = "_".join(parts[-depth:]) if depth > 1 else name
        found.append(name)
    return found


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
