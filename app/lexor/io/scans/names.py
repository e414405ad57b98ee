"""What names say: which format a file has, what it shows, and what its scan is called."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from lexor.io.scans.model import MODALITIES, SourceFormat

# The longer endings first.
_ENDINGS: Final[tuple[tuple[str, SourceFormat], ...]] = (
    (".nii.gz", "nifti"),
    (".nii", "nifti"),
    (".nrrd", "nrrd"),
    (".nhdr", "nrrd"),
    (".mha", "mha"),
    (".mhd", "mha"),
    (".ome.tiff", "tiff"),
    (".ome.tif", "tiff"),
    (".tiff", "tiff"),
    (".tif", "tiff"),
    (".npz", "npz"),
    (".dcm", "dicom"),
    (".dicom", "dicom"),
    (".ima", "dicom"),
)
_MR: Final = (
    *(
        "t1w",
        "t2w",
        "t2star",
        "t2starw",
        "flair",
        "pd",
        "pdw",
        "pdt2",
        "inplanet1",
        "inplanet2",
        "angio",
        "bold",
    ),
    *("sbref", "cbv", "dwi", "adc", "swi", "asl", "m0scan", "unit1", "t1map", "t2map", "t1rho", "mri"),
)
# The last part of a file's name in BIDS, in lower case.
_SUFFIXES: Final = {
    **dict.fromkeys(("ct",), "CT"),
    **dict.fromkeys(("pet", "pt"), "PET"),
    **dict.fromkeys(_MR, "MR"),
    **dict.fromkeys(("us", "ultrasound"), "US"),
    **dict.fromkeys(
        ("tem", "sem", "uct", "bf", "df", "pc", "dic", "fluo", "conf", "2pe", "mpe", "nlo", "oct", "spim"),
        "Microscopy",
    ),
}
_ALSO: Final = {"MRI": "MR", "PT": "PET", "MICROSCOPY": "Microscopy"}


def format_of(path: Path) -> SourceFormat | None:
    """The format that a file's name ends in; None: no format that is read."""
    name = path.name.lower()
    return next((found for ending, found in _ENDINGS if name.endswith(ending)), None)


def name_of(path: Path) -> str:
    """What a source is called: the file's name without its ending, the folder's name as it is."""
    if path.is_dir():
        return named_path(path).name
    lower = path.name.lower()
    ending = next((ending for ending, _ in _ENDINGS if lower.endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)] or path.name


def named_path(path: Path) -> Path:
    """A source by the name that the user knows: a link keeps its own, and `.` is the folder of the terminal."""
    if path.name == "..":
        return path.resolve()
    if path.name:
        return path.parent.resolve() / path.name
    here = Path(os.environ.get("PWD", ""))  # as `pwd` says it; the system knows only where links lead
    return here if here.is_absolute() and here.is_dir() and here.samefile(path) else path.resolve()


def modality_of(name: str) -> str | None:
    """The modality that a scan's name says: its first token as in the challenge (CT_...), or its BIDS suffix."""
    tokens = [token for token in re.split(r"[_\-. ]+", name) if token]
    if not tokens:
        return None
    first = _ALSO.get(tokens[0].upper(), tokens[0].upper())
    if first in MODALITIES:
        return first
    return _SUFFIXES.get(re.split(r"[_ ]+", name)[-1].lower())
