"""Many sources in another format, without predicting: each is converted or reported, and none stops the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lexor.errors import CaseError, printable, without_name
from lexor.inference.answers import Answer, Defaults, answers_of, check_answers, check_place, check_series
from lexor.io.case import write_case
from lexor.io.labels import present
from lexor.io.npz import NpzReader
from lexor.io.reading import Reading, open_source, unused_names
from lexor.io.scan import Scan, read_mask, read_scan
from lexor.io.scans.dicom_seg import read_dicom_seg
from lexor.io.scans.label_maps import checked_labels, is_dicom_seg, npz_labels, write_labels, write_volume
from lexor.io.scans.model import Format
from lexor.io.scans.names import format_of, name_of, named_path

# A scan becomes a case, and a case a scan.
_OTHERS: Final[Defaults] = {
    **{"nifti": "npz", "nrrd": "npz", "mha": "npz", "tiff": "npz", "dicom": "npz"},
    "npz": "nifti",
}
_LABELS_ALONE: Final = ("dicom-seg", "rtstruct")


@dataclass(frozen=True)
class Conversion:
    """How sources are converted.

    format: of the files that are written; None: .npz for a scan, NIfTI for an .npz.
    reading: of images. labels: the sources are label volumes, not images; a case's is its truth. like: the scan on
    whose grid labels are. truth: labels that go into a case, as its gts. labelmap: see `write_labels`.
    """

    format: Format | None = None
    reading: Reading = field(default_factory=Reading)
    labels: bool = False
    like: Path | None = None
    truth: Path | None = None
    labelmap: bool = False


@dataclass(frozen=True)
class Converted:
    """What became of one source: `error` is None where it was written to `output`. warnings: of reading it."""

    source: Path
    output: Path
    what: str
    warnings: tuple[str, ...]
    error: str | None

    def summary(self) -> str:
        """One line: what was written where; or the error."""
        name = named_path(self.source).name
        if self.error is None:
            return f"{name}: {self.what}: {self.output}"
        return f"{name}: FAILED: {without_name(self.error, name, name_of(self.source))}"


def convert_files(sources: list[Path], output: Path, how: Conversion) -> Iterator[Converted]:
    """Writes each source in another format, as `how` says; only what is an answer is ever replaced.

    output: a folder, made if missing; or, of one source, a file.

    Raises:
        CaseError: see `check_answers`; or what belongs to one source is given for several.
    """
    how.reading.prompts.check(len(sources))
    if len(sources) > 1 and (how.truth or how.like):
        raise CaseError(f"--like and --truth are of one scan, and there are {len(sources)}; give one")
    for option, path in (("--like", how.like), ("--truth", how.truth)):
        if path is not None and not path.exists():
            raise CaseError(f"{option}: {path}: no such file or folder; give one that is there")
    if how.like is None:
        check_series(answers_of(sources, output, how.format, _OTHERS))
    for answer in check_answers(sources, output, how.format, _OTHERS):
        warnings: tuple[str, ...] = ()
        what, error = "", None
        try:
            check_place(answer.path, answer.format)
            convert = _convert_labels if _is_label_volume(answer, how) else _convert_image
            what, warnings = convert(answer, how)
        except (CaseError, OSError) as problem:
            error = str(problem)
        except Exception as problem:  # see `predict_files`
            error = f"{answer.source.name}: {type(problem).__name__}: {problem}"
        yield Converted(answer.source, answer.path, what, warnings, error)


def _is_label_volume(answer: Answer, how: Conversion) -> bool:
    if how.labels or answer.format in _LABELS_ALONE or is_dicom_seg(answer.source):
        return True
    if format_of(answer.source) != "npz":
        return False
    with NpzReader(answer.source) as file:
        return "segs" in file and "imgs" not in file


def _convert_image(answer: Answer, how: Conversion) -> tuple[str, tuple[str, ...]]:
    opened = open_source(answer.source, how.reading)
    case, scan = opened.case, opened.scan
    shape = "x".join(map(str, scan.shape))
    if answer.format != "npz":
        if how.truth or how.reading.prompts:
            raise CaseError(
                f"{answer.path.name}: {answer.format} has no place for prompts or labels; give --format npz"
            )
        write_volume(answer.path, scan, answer.format)
        return f"{shape}, {scan.voxels.dtype}", scan.warnings
    truth = None if how.truth is None else read_mask(how.truth, scan)[0]
    write_case(answer.path, case, truth, scan.affine)
    found = (case.boxes, case.clicks, case.previous is not None)
    given = [name for name, there in zip(("boxes", "clicks", "previous labels"), found, strict=True) if there]
    given += ["truth"] * (truth is not None)
    return f"{shape}, case with {', '.join(given) or 'no prompt'}", case.warnings


def _convert_labels(answer: Answer, how: Conversion) -> tuple[str, tuple[str, ...]]:
    source, reading = answer.source, how.reading
    names = dict(enumerate(reading.names, 1))
    if how.like is None:
        scan, found = _own_grid(source)
        labels = checked_labels(source.name, scan.voxels)
    else:
        scan = read_scan(how.like, series=reading.series, frame=reading.frame, modality=reading.modality)
        labels, found = read_mask(source, scan)
    write_labels(answer.path, labels, scan, answer.format, {**found, **names}, labelmap=how.labelmap)
    high = int(labels.max(initial=0))
    notes = scan.warnings
    if len(reading.names) > high:
        notes += (printable(f"{source.name}: {unused_names(reading.names, high)}"),)
    count = len(present(labels, high))
    return f"{'x'.join(map(str, labels.shape))}, {count} label{'s' * (count != 1)}", notes


def _own_grid(source: Path) -> tuple[Scan, dict[int, str]]:
    """Labels as a scan, where their own file says where they lie."""
    if is_dicom_seg(source):
        labels, affine, names = read_dicom_seg(source)
        return Scan(name_of(source), labels, affine, source=source, format="dicom"), names
    if format_of(source) != "npz":
        return read_scan(source), {}
    with NpzReader(source) as file:
        if "imgs" not in file:
            raise CaseError(f"{source.name}: an answer does not say where it lies; give its scan by --like")
    return replace(open_source(source).scan, voxels=npz_labels(source)), {}
