"""Which weights there are, and whether they are what their manifests say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexor.errors import WeightsError
from lexor.models.shards import INDEX_SUFFIX, SUFFIX
from lexor.models.weights import ManifestEntry, find_weights, read_manifest, verify_weights, weight_folders


@dataclass(frozen=True)
class Found:
    """A weights file that a manifest lists.

    Attributes:
        path: where it lies, or should.
        entry: what the manifest says of it.
        used: whether it is the first of its name, and there: the one that a model gets.
    """

    path: Path
    entry: ManifestEntry
    used: bool


def list_weights() -> list[Found]:
    """All weights listed in the folders that are searched, in the order of the search.

    Raises:
        WeightsError: a manifest cannot be read.
    """
    found = []
    for folder in _folders():
        for name, entry in read_manifest(folder).items():
            first = find_weights(name)
            used = first is not None and first.parent.resolve() == folder
            found.append(Found(folder / name, entry, used))
    return found


def weights_in(paths: Sequence[Path] | None = None) -> list[Path]:
    """The weights to verify: those listed in the folders' manifests or lying there, and single files.

    Args:
        paths: folders and .safetensors files; None for the folders that are searched.

    Raises:
        WeightsError: a path is neither, a manifest cannot be read, or there is nothing to verify.
    """
    found: list[Path] = []
    for path in paths or _folders():
        if path.is_dir():
            names = {*read_manifest(path), *(file.name for file in path.glob(f"*{SUFFIX}"))}
            # A shard is verified with the whole that it is a part of.
            parts = {part.name for index in path.glob(f"*{SUFFIX}{INDEX_SUFFIX}") for part in _shards(index)}
            found += [path / name for name in sorted(names - parts)]
        elif path.suffix == SUFFIX:
            found.append(path)
        else:
            raise WeightsError(f"{path}: neither a folder nor a {SUFFIX} file; check the path")
    if not found:
        places = ", ".join(str(folder) for folder in paths or weight_folders())
        raise WeightsError(f"no weights to verify in {places}; set LEXOR_WEIGHTS to their folder")
    return found


def verify_all(paths: Sequence[Path]) -> Iterator[tuple[Path, WeightsError | None]]:
    """Each file with what is wrong with it, None if nothing is."""
    for path in paths:
        try:
            verify_weights(path)
        except WeightsError as problem:
            yield path, problem
        else:
            yield path, None


def _folders() -> list[Path]:
    """The folders that are searched, those that exist, each once."""
    return list(dict.fromkeys(folder.resolve() for folder in weight_folders() if folder.is_dir()))


def _shards(index: Path) -> list[Path]:
    stem = index.name.removesuffix(SUFFIX + INDEX_SUFFIX)
    return list(index.parent.glob(f"{stem}-*-of-*{SUFFIX}"))
