"""Labelled cases in one small file, for a machine that gets no more than that; and what exactly was trained on.

A packed file is a zip archive of arrays NAME/imgs.npy (uint8) and NAME/gts.npy, LZMA-compressed, and manifest.json:
{"bits", "cases": {NAME: {"sha256": of the source file, "ratio": slice distance over pixel size}}}. Volumes keep their
shape, on which the challenge's law of boxes depends; what is far from every target is zero. Where the limit of
size asks for it, the lowest bits of voxels are zero too: they hold noise, and noise does not compress.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from scipy import ndimage

from lexor.errors import CaseError
from lexor.io.npz import MAX_ARRAY_BYTES
from lexor.io.pairs import Source
from lexor.models.weights import file_hash
from lexor.training.config import DataConfig, TrainingError
from lexor.training.labelled import Entry, Targets, as_subject, list_sources, read_subject
from lexor.training.samples import Subject

MANIFEST = "manifest.json"
LIMIT_BYTES = 50_000_000
MAX_MANIFEST_BYTES = 64 << 20
# How far past a target training looks: the widest view is 1.9 boxes and 40 voxels, a loosened box included.
GROWTH = 0.6
BITS = (8, 7, 6)
MARGIN = (8, 24, 24)


@dataclass(frozen=True)
class Packed:
    """What was packed: cases, the file's bytes, bits kept of each voxel, a line for each file that is not in it."""

    cases: int
    bytes: int
    bits: int
    problems: tuple[str, ...]


def pack(folder: Path, file: Path, limit_bytes: int = LIMIT_BYTES) -> Packed:
    """Packs a folder's labelled cases; the file appears complete or not at all.

    Args:
        folder: of challenge .npz files with gts.
        file: written; `data.paths` takes it in a folder's place.
        limit_bytes: it must not be larger.

    Raises:
        TrainingError: no usable case, or a larger file than the limit.
    """
    temporary = file.with_name(f".{file.name}.tmp")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        for bits in BITS:
            names, problems = _write(folder, temporary, bits)
            size = temporary.stat().st_size
            if not names:
                raise TrainingError(f"{folder}: holds no labelled .npz case; give a folder that does")
            if size <= limit_bytes:
                temporary.replace(file)
                return Packed(len(names), size, bits, tuple(problems))
    finally:
        temporary.unlink(missing_ok=True)
    raise TrainingError(
        f"{file}: would be {size} bytes, {limit_bytes} allowed; pack fewer cases, or raise --limit-mb"
    )


def _write(folder: Path, file: Path, bits: int) -> tuple[list[str], list[str]]:
    """Writes all that can be read; names of cases, and a line for each file that cannot be used."""
    manifest: dict[str, dict[str, object]] = {}
    problems = []
    kept = 256 - (1 << 8 - bits)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        for source in list_sources(DataConfig(paths=(folder,)), folder):
            try:
                subject = read_subject(source)
            except (CaseError, OSError) as problem:
                problems.append(str(problem))
                continue
            assert isinstance(subject.targets, Targets)
            labels = subject.targets.labels
            image = np.where(_reach(labels), subject.image & np.uint8(kept), 0)
            _write_array(archive, f"{source.stem}/imgs", image)
            _write_array(archive, f"{source.stem}/gts", labels)
            manifest[source.stem] = {"sha256": _hash(source), "ratio": subject.ratio}
        archive.writestr(MANIFEST, json.dumps({"bits": bits, "cases": manifest}))
    return list(manifest), problems


def read_pack(file: Path) -> list[Entry]:
    """The cases of a packed file; their arrays are read when they are drawn.

    Raises:
        TrainingError: it is none.
    """
    cases = _read_manifest(file)
    return [Entry(name, partial(_read, file, name, float(cases[name]["ratio"]))) for name in sorted(cases)]


def manifest_of(data: DataConfig) -> dict[str, str]:
    """The sha256 of every case's file, by case name, of folders and packed files alike; of a scan and its labels that
    of their two hashes."""
    hashes: dict[str, str] = {}
    for path in data.paths:
        if path.is_file():
            hashes |= {name: str(facts["sha256"]) for name, facts in _read_manifest(path).items()}
        else:
            hashes |= {source.stem: _hash(source) for source in list_sources(data, path)}
    return dict(sorted(hashes.items()))


def _hash(source: Source) -> str:
    if isinstance(source, Path):
        return file_hash(source)
    return hashlib.sha256(f"{file_hash(source.image)} {file_hash(source.labels)}".encode()).hexdigest()


def _reach(labels: np.ndarray) -> np.ndarray:
    """Where views of some target may look."""
    reach = np.zeros(labels.shape, bool)
    for where in ndimage.find_objects(labels):
        if where is None:
            continue
        grown = []
        for part, margin, length in zip(where, MARGIN, labels.shape, strict=True):
            by = margin + int(GROWTH * (part.stop - part.start))
            # The law loosens by up to 5 voxels in 256.
            by += length * 5 // 256
            grown.append(slice(max(0, part.start - by), part.stop + by))
        reach[tuple(grown)] = True
    return reach


def _write_array(archive: zipfile.ZipFile, key: str, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    npy.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    archive.writestr(f"{key}.npy", buffer.getvalue())


def _read(file: Path, name: str, ratio: float) -> Subject:
    try:
        with zipfile.ZipFile(file) as archive:
            image, labels = _read_array(archive, f"{name}/imgs"), _read_array(archive, f"{name}/gts")
    except (ValueError, KeyError, EOFError, lzma.LZMAError, zipfile.BadZipFile) as problem:
        raise CaseError(f"{file.name}: {name} cannot be read ({problem}); pack it again") from None
    if image.dtype != np.uint8 or image.ndim != 3 or labels.shape != image.shape or labels.dtype.kind != "u":
        raise CaseError(f"{file.name}: {name}: arrays are not those of a packed case; pack it again")
    return as_subject(name, image, labels, ratio)


def _read_array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    info = archive.getinfo(f"{key}.npy")
    if info.file_size > MAX_ARRAY_BYTES:
        raise ValueError(f"{info.file_size} bytes are more than the {MAX_ARRAY_BYTES} allowed")
    array: np.ndarray = npy.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
    return array


def _read_manifest(file: Path) -> dict[str, dict[str, float | str]]:
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
                raise ValueError("its manifest is too large")
            cases: dict[str, dict[str, float | str]] = json.loads(archive.read(MANIFEST))["cases"]
        for facts in cases.values():
            float(facts["ratio"]), str(facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as problem:
        reason = " ".join(str(problem).split())
        raise TrainingError(f"{file}: no packed file ({reason}); make one with lexor pack") from None
    return cases
