"""Many cases: each is answered or reported, and none stops the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lexor.errors import CaseError, printable
from lexor.inference.answers import (
    Answer,
    answers_of,
    check_answers,
    check_place,
    check_series,
    remove_answer,
)
from lexor.inference.outcome import Outcome, outcome_of
from lexor.inference.predictor import Prediction, Predictor
from lexor.inference.runlog import RunLog, hash_of
from lexor.inference.targets import PromptMode
from lexor.io.reading import Opened, Reading, open_source, unused_names
from lexor.io.scan import find_scans, is_scan, write_labels
from lexor.io.scans.label_maps import check_format
from lexor.io.scans.model import Format
from lexor.io.scans.names import format_of

log = logging.getLogger("lexor")


def find_cases(inputs: Path) -> list[Path]:
    """What is named .npz in a folder, in sorted order and without its sub-folders; or the one file given.

    Raises:
        CaseError: there is nothing there to read.
    """
    if not inputs.is_dir():
        if not inputs.exists():
            raise CaseError(
                f"{inputs}: no such file or folder; give a challenge .npz file or a folder of them"
            )
        if not _is_npz(inputs):
            raise CaseError(
                f"{inputs}: only challenge .npz files are read; `lexor convert` makes one of a scan"
            )
        return [inputs]
    found = sorted(path for path in inputs.iterdir() if _is_npz(path) and not path.is_dir())
    if not found:
        notes = "".join(f"; {note}" for note in unread_folders(inputs))
        raise CaseError(f"{inputs}: the folder holds no .npz file; put challenge cases into it{notes}")
    return found


def find_sources(inputs: Path, outputs: Path | None = None) -> list[Path]:
    """The challenge cases and scans in a folder, in sorted order; or the one given.

    Folders with DICOM files are found at any depth, and each is one scan; other files only in the folder itself.
    outputs: a folder that is left out.

    Raises:
        CaseError: there is nothing there to read.
    """
    if not inputs.is_dir():
        if not inputs.exists():
            raise CaseError(
                f"{inputs}: no such file or folder; give a scan, a challenge .npz file, or a folder"
            )
        if not is_scan(inputs):
            raise CaseError(
                f"{inputs}: not a format that is read; give NIfTI, NRRD, MHA, TIFF, DICOM or a challenge .npz"
            )
        return [inputs]
    found = find_scans(inputs, outputs)
    if not found:
        notes = "".join(f"; {note}" for note in unread_folders(inputs))
        raise CaseError(
            f"{inputs}: the folder holds no .npz file and no scan; put cases or scans into it{notes}"
        )
    return found


def unread_folders(inputs: Path, outputs: Path | None = None) -> list[str]:
    """A line for each folder in INPUTS, but for OUTPUTS, that holds files of cases or scans or is named like one."""
    lines = []
    mine = outputs and outputs.resolve()
    for folder in sorted(path for path in inputs.glob("*") if path.is_dir() and path.resolve() != mine):
        case = next(filter(_is_file_of_one, folder.rglob("*")), None)
        if case is not None or _is_npz(folder):
            where = folder if case is None else case.parent
            lines.append(f"{where}: not read, it is a folder in a folder; give it by itself")
    return lines


def _is_npz(path: Path) -> bool:
    """Whether a name is a case's; hidden ones are not finished."""
    return path.suffix.lower() == ".npz" and not path.name.startswith(".")


def _is_file_of_one(path: Path) -> bool:
    """Whether a name is that of a case or of a scan in one file."""
    return format_of(path) not in (None, "dicom") and not path.name.startswith(".")


def predict_files(
    sources: list[Path],
    outputs: Path,
    predictor: Predictor,
    prompt: PromptMode = "given",
    top: int = 1,
    strict: bool = False,
    probabilities: bool = False,
    *,
    reading: Reading | None = None,
    format: Format | None = None,
    labelmap: bool = False,
    head: Mapping[str, Any] | None = None,
    logged: bool = False,
    resume: bool = False,
) -> Iterator[Outcome]:
    """Segments sources one after another, writing an answer for each that can be answered.

    Only what is an answer is ever replaced or removed: of .npz what holds `segs` and nothing else, of other
    formats what Lexor wrote.

    Args:
        sources: challenge .npz files, scans, folders with DICOM files.
        outputs: folder for the answers, made if missing; or the answer's file, of one source. A stale answer of a
            failed case is removed.
        predictor: answers them.
        prompt, top, strict: see `Predictor.segment`.
        probabilities: the answers hold them as well, see `write_segmentation`; .npz alone.
        reading: how sources are read, and which prompts take the place of their own.
        format: of the answers; None: as the source, which of DICOM is a segmentation.
        labelmap: see `write_labels`.
        head: of the run, see `head_of`; records then have the hashes by which a later run knows what has not changed.
        logged: the run's log in a folder of answers is added to; needs the head.
        resume: what the log tells of as answered from the same input, options and weights is passed over, if the
            answer is there as it was written; needs the head.

    Raises:
        CaseError: see `check_answers`, `RunLog`, `GivenPrompts.check`; or no source has an answer of this format.
    """
    reading = reading or Reading()
    reading.prompts.check(len(sources))
    if reading.prompts and prompt != "given":
        raise CaseError(f"--prompt {prompt} asks for no prompts, and some are given; leave out one of both")
    _check_formats(answers_of(sources, outputs, format), probabilities)
    answers = check_answers(sources, outputs, format)
    runlog = None
    if head is not None and (resume or (logged and answers[0].path != outputs)):
        runlog = RunLog(answers[0].path.parent, head)
    for answer in answers:
        began = time.perf_counter()
        digest = "" if head is None else _digest(answer.source)
        if resume and runlog is not None:
            earlier = runlog.finished(answer.source, answer.path, digest)
            if earlier is not None:
                yield Outcome(answer.source, answer.path, None, None, None, 0.0, record=earlier, kept=True)
                continue
        opened: Opened | None = None
        prediction: Prediction | None = None
        error: str | None = None
        try:
            check_place(answer.path, answer.format)
            opened = _open(answer.source, reading)
            check_format(answer.format, opened.scan, probabilities)
            prediction = predictor.segment(
                opened.case, prompt, top, strict=strict, probabilities=probabilities
            )
            opened = _with_warning(opened, reading.names, prediction.n_classes)
            check_place(answer.path, answer.format)
            _write(answer, opened, prediction, probabilities, labelmap)
        except (CaseError, OSError) as problem:
            error = str(problem)
            log.debug("%s", answer.source.name, exc_info=True)
        except Exception as problem:
            # Whatever it is, a bug or a lack of memory: it must not cost the answers of the others.
            error = f"{answer.source.name}: {type(problem).__name__}: {problem}"
            log.debug("%s", answer.source.name, exc_info=True)
        if error is not None:
            # An old answer would be scored as if it were this run's.
            try:
                remove_answer(answer.path, answer.format)
            except OSError as problem:
                error += f"; and the answer at its place stays: {problem}"
        outcome = outcome_of(answer, opened, prediction, error, time.perf_counter() - began, digest, head)
        if runlog is not None and outcome.record is not None:
            runlog.add(outcome.record)
        yield outcome


def _check_formats(answers: Sequence[Answer], probabilities: bool) -> None:
    """Raises CaseError where by their names alone no source can be answered as it was asked for."""
    if probabilities and all(answer.format != "npz" for answer in answers):
        asked = answers[0].format
        raise CaseError(f"{asked} has no place for probabilities; give --format npz, or leave them out")
    check_series(answers)


def _with_warning(opened: Opened, names: Sequence[str], classes: int) -> Opened:
    """With a warning where more names were given than there are classes."""
    if len(names) <= classes:
        return opened
    case = opened.case
    line = printable(f"{case.name}: {unused_names(names, classes)}")
    return replace(opened, case=replace(case, warnings=(*case.warnings, line)))


def _digest(source: Path) -> str:
    """Of what is read; of what cannot be read there is none."""
    try:
        return hash_of(source) if source.is_file() or source.is_dir() else ""
    except OSError:
        return ""


def _open(source: Path, reading: Reading) -> Opened:
    if source.exists() and not source.is_file() and not source.is_dir():
        raise CaseError(f"{source}: a pipe, a socket or a device; give a file")
    return open_source(source, reading)


def _write(
    answer: Answer, opened: Opened, prediction: Prediction, probabilities: bool, labelmap: bool
) -> None:
    classes = prediction.n_classes
    maps = [partial(prediction.probability, i) for i in range(1, classes + 1)] if probabilities else None
    write_labels(
        answer.path,
        prediction.labels,
        opened.scan,
        answer.format,
        opened.names,
        n_classes=classes,
        probabilities=maps,
        labelmap=labelmap,
        automatic=all(target.source == "automatic" for target in prediction.targets),
    )
