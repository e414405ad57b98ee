"""Opening a scan for the viewer: where its labels will be saved, and what is taken up of earlier work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lexor.errors import CaseError
from lexor.inference.engine import Engine
from lexor.inference.marks import Prompts
from lexor.inference.session import Session
from lexor.io.scan import Scan, case_of, read_mask, write_labels
from lexor.io.scans.label_maps import ENDINGS, format_of_answer
from lexor.io.scans.model import Format
from lexor.serving.annotation import Annotation
from lexor.serving.keeping import MOST_OBJECTS, Claim, Look, Work, key_of, read_work

_MOST_NAMES = 99


@dataclass(frozen=True)
class Opened:
    """An annotation to show, and what its user is to be told.

    Attributes:
        annotation: with what was restored, or with the mask.
        notes: about the scan, one line each.
        restored: what was taken up of earlier work; "" where there was none.
    """

    annotation: Annotation
    notes: tuple[str, ...]
    restored: str


@dataclass(frozen=True, eq=False)
class _Mask:
    """Labels to begin with, and what the objects are called."""

    labels: UInt8[np.ndarray, "D H W"]
    looks: tuple[Look, ...]
    key: str


def open_scan(
    scan: Scan,
    engine: Engine,
    mask: Path | None = None,
    output: Path | None = None,
    window: str | None = None,
) -> Opened:
    """Opens a scan.

    Args:
        scan: what is shown.
        engine: answers the prompts.
        mask: a file of labels to begin with.
        output: where labels are saved; its ending tells the format. None: beside the scan, in the scan's format.
        window: see `case_of`.

    Raises:
        CaseError: the mask does not fit the scan; or the output has no format, or is a file that must stay.
    """
    case = case_of(scan, window)
    begin = None if mask is None else _read_mask(mask, scan)
    key = key_of(scan.voxels, scan.affine)
    form = None if output is None else _format(output)
    output, work, claim = _place(scan, key, output, mask, begin)
    form = form or _format(output)
    session = Session(engine=engine)
    session.open(case)
    looks: tuple[Look, ...] = ()
    if work is not None:
        session.resume(work.prompts, work.labels)
        session.select(work.current)
        looks = work.looks
    elif begin is not None:
        session.resume((Prompts(),) * max(1, len(begin.looks)), begin.labels)
        looks = begin.looks

    def save(path: Path, labels: np.ndarray, names: dict[int, str]) -> None:
        if form in ("dicom-seg", "rtstruct") and not labels.any():
            raise CaseError(f"{path.name}: DICOM holds no empty answer; point at an object first")
        write_labels(path, labels, scan, form, names)

    saved = begin is None if work is None else work.saved
    annotation = Annotation(scan, session, output, save, looks, saved)
    annotation.claim = claim
    began = work.began if work is not None else begin.key if begin is not None else ""
    annotation.keep(work_file(output), key, began)
    return Opened(annotation, case.warnings, "" if work is None else _told(work))


def work_file(output: Path) -> Path:
    """Where unfinished work on an output is kept: beside it, hidden, so that nobody takes it for a case."""
    return output.with_name(f".{output.name}.work.npz")


def check_folder(output: Path) -> None:
    """That files can be written beside an output. Raises CaseError, before any work is lost."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=output.parent, prefix=".lexor-"):
            pass
    except OSError as problem:
        raise CaseError(
            f"{output.parent}: nothing can be written there ({problem.strerror}); give --output"
        ) from None


def _read_mask(path: Path, scan: Scan) -> _Mask:
    labels, names = read_mask(path, scan)
    high = int(labels.max(initial=0))
    if high > MOST_OBJECTS:
        raise CaseError(f"{path.name}: has a label {high}; the viewer shows at most {MOST_OBJECTS} objects")
    usual = [Look.usual(number) for number in range(1, high + 1)]
    looks = tuple(
        Look.named(names[i], look.colour) if i in names else look for i, look in enumerate(usual, start=1)
    )
    return _Mask(labels.astype(np.uint8), looks, key_of(labels.astype(np.uint8)))


def _place(
    scan: Scan, key: str, output: Path | None, mask: Path | None, begin: _Mask | None
) -> tuple[Path, Work | None, Claim]:
    """The output, and the work that is taken up there: nothing is ever replaced, but by its own work."""
    reason = ""
    for place in _places(scan) if output is None else (output,):
        check_folder(place)
        try:
            claim = Claim(place)
        except BlockingIOError:
            reason = f"{place.name} is worked on by another `lexor view`"
            continue
        try:
            work, reason = _found(scan, key, place, mask, begin)
        except BaseException:
            claim.release()
            raise
        if not reason:
            return place, work, claim
        claim.release()
    raise CaseError(f"{reason}; or give another --output")


def _found(
    scan: Scan, key: str, place: Path, mask: Path | None, begin: _Mask | None
) -> tuple[Work | None, str]:
    """The work at a place, if it is on this scan and mask; and why the place cannot be taken, or ""."""
    kept = work_file(place)
    if kept.exists():
        try:
            work = read_work(kept, scan.shape)
        except CaseError as problem:
            return None, str(problem)
        fits = begin is None or work.began == begin.key or np.array_equal(work.labels, begin.labels)
        if work.key == key and fits:
            return work, ""
        return None, f"{kept.name} keeps work on another {'mask' if work.key == key else 'scan'}"
    if place.exists() and not (mask is not None and mask.exists() and place.samefile(mask)):
        return None, f"{place.name} is there already: go on with it by --mask {place.name}"
    return None, ""


def _places(scan: Scan) -> Iterator[Path]:
    source = scan.source.resolve()
    form: Format = "dicom-seg" if scan.format == "dicom" else scan.format
    for number in range(1, _MOST_NAMES + 1):
        yield source.parent / f"{scan.name}-labels{f'-{number}' if number > 1 else ''}{ENDINGS[form]}"


def _format(output: Path) -> Format:
    found = format_of_answer(output)
    if found is None:
        raise CaseError(
            f"{output.name}: no ending of a format; give for example NAME{', NAME'.join(ENDINGS.values())}"
        )
    return found


def _told(work: Work) -> str:
    objects = int(np.count_nonzero(np.bincount(work.labels.ravel(), minlength=2)[1:]))
    return f"Your unfinished work was restored: {objects} object{'s' * (objects != 1)}. Undo begins anew."
