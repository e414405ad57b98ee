"""DICOM files of a folder: which are images, and which belong together. Pixels are not read here."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lexor.errors import CaseError, Notes, printable, shown
from lexor.io.scans.names import format_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_FILES: Final = 20_000  # of a folder
_SHOWN: Final = 20
_META: Final = 2048  # bytes that hold what stands before the data set
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_MOST_DEFLATED: Final = 2 << 20  # times a thousand is 2 GB
_LOOKED_AT: Final = 200
_TAGS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "PatientName"),
    *("Modality", "SeriesNumber", "SeriesDescription", "ImageType", "Rows", "Columns", "NumberOfFrames"),
)


@dataclass(frozen=True)
class Series:
    """One series of a folder, by its headers.

    uid, number, description, modality, patient: as its first file says; number is text, "" where it has none.
    files: its images, sorted by name. frames: how many slices they hold.
    """

    uid: str
    number: str
    description: str
    modality: str
    patient: str
    files: tuple[Path, ...] = field(repr=False)
    frames: int

    def line(self) -> str:
        """What a person chooses by."""
        number = f"{self.number}: " if self.number else ""
        kind = " ".join(part for part in (self.modality, self.description and repr(self.description)) if part)
        nothing = "" if self.number or self.uid or self.description else "without number, UID and description"
        patient = f"patient {self.patient!r}" if self.patient else ""
        parts = (kind, f"{self.frames} slices", patient, self.uid and f"UID {self.uid}", nothing)
        return printable(number + ", ".join(part for part in parts if part))


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its magic word, or by its name where old files have none."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or format_of(path) == "dicom"


def holds_dicom(folder: Path) -> bool:
    """Whether a folder itself has a DICOM file; of those that are named as no format, so many are looked at."""
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir())
    unnamed = [folder / name for name in names if format_of(Path(name)) is None]
    named = (folder / name for name in names if format_of(Path(name)) == "dicom" and not name.startswith("."))
    return any(path.is_file() for path in named) or any(map(is_dicom, unnamed[:_LOOKED_AT]))


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """A file's data set without pixels. Raises CaseError where pydicom cannot read it."""
    import pydicom

    check_deflated(path)
    try:
        with quiet():
            wanted = None if tags is None else list(tags)
            return pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=wanted)
    except Exception as error:  # pydicom and struct raise a dozen unrelated types on damaged input
        raise unreadable(path, error) from error


def check_deflated(path: Path) -> None:
    """Raises CaseError where a data set is deflated and could fill memory: it is inflated as a whole."""
    with path.open("rb") as file:
        head = file.read(_META)
    if _DEFLATED in head and (size := path.stat().st_size) > _MOST_DEFLATED:
        raise CaseError(
            f"{path.name}: {size:,} deflated bytes; at most {_MOST_DEFLATED:,} are read, write it with another "
            "transfer syntax"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom and highdicom warn of every value that is not as the standard says; scanners write many."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(action="ignore"):
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def unreadable(path: Path, error: Exception) -> CaseError:
    """The error of a file that pydicom cannot read."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return CaseError(f"{path.name}: cannot be read as DICOM ({reason}); it is damaged, copy it again")


def find_series(source: Path, notes: Notes) -> list[Series]:
    """The series of images in a folder (not in its sub-folders), or of one file; localisers are left out.

    notes: is added to where files are left out.
    Raises CaseError where there is no image at all.
    """
    groups: dict[tuple[str, str], list[tuple[Path, Any]]] = {}
    skipped: dict[str, int] = {}
    unread: list[CaseError] = []
    for path in [source] if source.is_file() else [path for path in _files(source) if is_dicom(path)]:
        try:
            header = read_header(path, _TAGS)
        except CaseError as error:
            unread.append(error)
            notes.append(f"{error}; it is left out")
            continue
        if (why := _no_slice(header)) is not None:
            skipped[why] = skipped.get(why, 0) + 1
            continue
        key = text(header, "PatientID"), text(header, "SeriesInstanceUID")
        groups.setdefault(key, []).append((path, header))
    left = [f"{count:,} {why}{'s' if count > 1 else ''}" for why, count in skipped.items()]
    if unread and not groups:
        raise unread[0]
    if not groups:
        found = f"it holds {', '.join(left)}" if left else "it holds none"
        raise CaseError(
            f"{source.name}: no DICOM image to segment; {found}, give a folder with the slices of a series"
        )
    if left:
        notes.append(f"left out: {', '.join(left)}")
    return [_series(group) for group in groups.values()]


def choose_series(source: Path, found: list[Series], wanted: str | None) -> Series:
    """The one series, or that which is wanted: by its UID, its number, or a part of its description.

    Raises CaseError where that is not one; it lists all.
    """
    chosen = found
    if wanted is not None:
        for matches in (
            lambda one: one.uid == wanted,
            lambda one: one.number == wanted,
            lambda one: wanted.lower() in one.description.lower(),
        ):
            if chosen := [one for one in found if matches(one)]:
                break
    if len(chosen) == 1:
        return chosen[0]
    listed = sorted(found, key=lambda one: one.number.zfill(9))[:_SHOWN]
    lines = "; ".join(one.line() for one in listed)
    lines += "; ..." * (len(found) > _SHOWN)
    patients = len({one.patient for one in found})
    several = f"{len(found)} series" + (f" of {patients} patients" if patients > 1 else "")
    if wanted is None:
        raise CaseError(
            f"{source.name}: holds {several}; choose one by --series NUMBER, a UID or a word of: {lines}"
        )
    if len(found) == 1:
        raise CaseError(
            f"{source.name}: --series is {shown(wanted)}, and it holds one: {lines}; leave out --series"
        )
    what = "no series is that" if not chosen else f"{len(chosen)} series are that"
    raise CaseError(
        f"{source.name}: --series is {shown(wanted)}, and {what}; give a number, a UID or a word of: {lines}"
    )


def text(header: Any, key: str) -> str:
    """A value of a data set as text, "" where it has none."""
    try:
        value = header.get(key)
    except Exception:  # values are decoded when they are asked for
        return ""
    return "" if value is None else str(value).strip()


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder by name; raises CaseError where they are too many."""
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir())
    if len(names) > MAX_FILES:
        raise CaseError(
            f"{folder.name}: holds {len(names):,} files; give at most {MAX_FILES:,}, one series a folder"
        )
    return (folder / name for name in names)


def _no_slice(header: Any) -> str | None:
    """What a file is that is no slice of a volume; None: it is one."""
    kinds = [part.upper() for part in text(header, "ImageType").strip("[]").replace("'", "").split(", ")]
    if not text(header, "Rows"):
        return f"{text(header, 'Modality') or 'unknown'} file without an image"
    if text(header, "Modality") == "SEG":
        return "segmentation"
    if text(header, "Modality") == "RTDOSE":
        return "dose map"
    if {"LOCALIZER", "SCOUT"} & set(kinds):
        return "localiser"
    return None


def _series(group: list[tuple[Path, Any]]) -> Series:
    header = group[0][1]
    frames = 0
    for _, one in group:
        count = text(one, "NumberOfFrames")
        frames += int(count) if count.isdigit() else 1
    return Series(
        text(header, "SeriesInstanceUID"),
        text(header, "SeriesNumber"),
        text(header, "SeriesDescription"),
        text(header, "Modality"),
        text(header, "PatientID") or text(header, "PatientName"),
        tuple(path for path, _ in group),
        frames,
    )
