"""Many cases: each is answered or reported, and none stops the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lexor.errors import CaseError
from lexor.inference.answers import Answer, check_answers, check_place, remove_answer
from lexor.inference.predictor import Prediction, Predictor
from lexor.inference.targets import AutomaticBox, PromptMode, Target
from lexor.io.case import Case
from lexor.io.reading import Opened, Reading, open_source
from lexor.io.scan import Scan, find_scans, is_scan, write_labels
from lexor.io.scans.label_maps import check_format
from lexor.io.scans.model import Format
from lexor.io.scans.names import format_of

# Of so many automatic boxes a summary tells how they were found.
MOST_SHOWN = 10


@dataclass(frozen=True)
class Outcome:
    """What became of one source: `error` is None where an answer was written to `output`.

    case, scan: what was read of it, None where it could not be.
    """

    source: Path
    output: Path
    case: Case | None
    prediction: Prediction | None
    error: str | None
    seconds: float
    scan: Scan | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of reading and of predicting."""
        read = self.case.warnings if self.case else ()
        return read + (self.prediction.warnings if self.prediction else ())

    def summary(self) -> str:
        """One line: shape, prompts and where they came from, classes, seconds; or the error."""
        if self.error is not None or self.case is None or self.prediction is None:
            return f"{self._name}: FAILED: {self.error}"
        targets = self.prediction.targets
        shape = "x".join(map(str, self.prediction.labels.shape))
        return (
            f"{self._name}: {shape}, prompts: {_prompts(targets)}, "
            f"{len(targets)} class{'es' if len(targets) != 1 else ''}, {self.seconds:.1f} s"
        )

    @property
    def _name(self) -> str:
        return self.source.name or self.source.resolve().name


def _prompts(targets: Sequence[Target]) -> str:
    """What pointed at the classes: their boxes, all clicks, and whether there was a last answer."""
    boxes: dict[str, list[AutomaticBox | None]] = {}
    for target in targets:
        if target.box is not None:
            boxes.setdefault("stand-in" if target.stand_in else target.source, []).append(target.found)
    texts = []
    for kind, found in boxes.items():
        several = len(found) != 1
        text = {
            "box": "boxes" if several else "box",
            "stand-in": "automatic in place of "
            + ("unreadable prompts" if several else "an unreadable prompt"),
        }.get(kind, kind)
        hows = [box.summary() for box in found if box is not None]
        how = "; ".join(hows[:MOST_SHOWN]) + "; ..." * (len(hows) > MOST_SHOWN)
        texts.append(f"{len(found)} {text}" + (f" ({how})" if how else ""))
    clicks = sum(len(target.clicks.points) for target in targets)
    parts = [", ".join(texts)] if texts else []
    if clicks:
        parts.append(f"{clicks} click{'s' if clicks != 1 else ''}")
    if any(target.previous is not None for target in targets):
        parts.append("previous labels")
    return " + ".join(parts)


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
) -> Iterator[Outcome]:
    """Segments sources one after another, writing an answer for each that can be answered.

    Only what is an answer is ever replaced or removed: of .npz what holds `segs` and nothing else, of other
    formats what Lexor wrote.

    Args:
        sources: challenge .npz files, scans, folders with DICOM files.
        outputs: folder for the answers, made if missing; or the answer's file, of one source. A stale answer
        of a failed
            case is removed.
        predictor: answers them.
        prompt, top, strict: see `Predictor.segment`.
        probabilities: the answers hold them as well, see `write_segmentation`; .npz alone.
        reading: how sources are read, and which prompts take the place of their own.
        format: of the answers; None: as the source, which of DICOM is a segmentation.
        labelmap: see `write_labels`.

    Raises:
        CaseError: see `check_answers`; or prompts of one scan are given for several.
    """
    reading = reading or Reading()
    reading.prompts.check(len(sources))
    if reading.prompts and prompt != "given":
        raise CaseError(f"--prompt {prompt} asks for no prompts, and some are given; leave out one of both")
    for answer in check_answers(sources, outputs, format):
        began = time.perf_counter()
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
            check_place(answer.path, answer.format)
            _write(answer, opened, prediction, probabilities, labelmap)
        except (CaseError, OSError) as problem:
            error = str(problem)
        except Exception as problem:
            # Whatever it is, a bug or a lack of memory: it must not cost the answers of the others.
            error = f"{answer.source.name}: {type(problem).__name__}: {problem}"
        if error is not None:
            # An old answer would be scored as if it were this run's.
            try:
                remove_answer(answer.path, answer.format)
            except OSError as problem:
                error += f"; and the answer at its place stays: {problem}"
        case, scan = (None, None) if opened is None else (opened.case, opened.scan)
        yield Outcome(answer.source, answer.path, case, prediction, error, time.perf_counter() - began, scan)


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
