"""Weights on disk: safetensors beside a manifest that vouches for them.

`manifest.json` of a weights folder maps a file's name to {"sha256", "bytes", "architecture", "parameters",
"licence", "card", "certainty"}; "card" names a JSON file of training facts and scores in the same folder, "certainty"
is that of `Segmenter`. A file may lie there in shards (see `shards.py`): its entry is that of the whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lexor.errors import WeightsError
from lexor.models.shards import INDEX_SUFFIX, SUFFIX, read_shards

MANIFEST = "manifest.json"
# No model here comes near: SegVol's is 0.5 GB.
MAX_BYTES = 4 << 30
MAX_JSON_BYTES = 1 << 20
# More than this many names make an error line unreadable.
NAMES_SHOWN = 5


@dataclass(frozen=True)
class ManifestEntry:
    """What the manifest says of a file; see the module's text."""

    sha256: str
    bytes: int
    architecture: str
    parameters: int
    licence: str
    card: str | None = None
    certainty: float = 1.0


def weight_folders() -> list[Path]:
    """Where weights are looked for, in order.

    `LEXOR_WEIGHTS`, the installed package, the checkout that holds the package, the container's workspace.
    """
    package = Path(__file__).resolve().parents[1]
    named = os.environ.get("LEXOR_WEIGHTS")
    folders = [Path(named)] if named else []
    return [*folders, package / "weights", package.parents[1] / "weights", Path("/workspace/weights")]


def find_weights(name: str) -> Path | None:
    """The first file of that name, whole or in shards, in `weight_folders()`; None if there is none."""
    return next((folder / name for folder in weight_folders() if _is_there(folder / name)), None)


def _index_of(path: Path) -> Path:
    """Where the index of a weights file in shards is."""
    return path.with_name(path.name + INDEX_SUFFIX)


def _is_there(path: Path) -> bool:
    return path.is_file() or _index_of(path).is_file()


def bundled_weights(name: str, model: str) -> Path:
    """The bundled weights of a model, which the manifest beside them must list.

    Raises:
        WeightsError: there are none, says where they were looked for; or they are not in the manifest.
    """
    path = find_weights(name)
    if path is None:
        places = ", ".join(str(folder) for folder in weight_folders())
        raise WeightsError(
            f"{name}: no weights of model {model!r} in {places}; give --weights FILE (in Python weights=FILE, or "
            "None for a random initialisation), or set LEXOR_WEIGHTS to their folder"
        )
    if path.name not in read_manifest(path.parent):
        raise WeightsError(f"{path}: not listed in {path.parent / MANIFEST}; save it again with save_weights")
    return path


def read_manifest(folder: Path) -> dict[str, ManifestEntry]:
    """The manifest of a weights folder, empty where there is none.

    Raises:
        WeightsError: it is no JSON object of entries as above.
    """
    entries = {}
    for name, value in read_json(folder / MANIFEST).items():
        try:
            entry = ManifestEntry(**value)
        except TypeError as problem:
            raise WeightsError(f"{folder / MANIFEST}: entry {name!r}: {problem}; restore the file") from None
        numbers = isinstance(entry.bytes, int) and isinstance(entry.parameters, int)
        texts = (name, entry.sha256, entry.architecture, entry.licence, entry.card or "")
        share = isinstance(entry.certainty, int | float) and 0 <= entry.certainty <= 1
        if not numbers or not share or not all(isinstance(text, str) for text in texts):
            raise WeightsError(
                f"{folder / MANIFEST}: entry {name!r}: values of the wrong kind; restore the file"
            )
        if entry.card is not None and Path(entry.card).name != entry.card:
            raise WeightsError(
                f"{folder / MANIFEST}: entry {name!r}: card {entry.card!r} is no plain file name"
            )
        entries[name] = entry
    return entries


def read_card(weights: Path) -> dict[str, Any]:
    """The card of a weights file, empty where the manifest names none."""
    entry = read_manifest(weights.parent).get(weights.name)
    return {} if entry is None or entry.card is None else read_json(weights.parent / entry.card)


def load_weights(model: nn.Module, path: Path, *, architecture: str | None = None) -> ManifestEntry | None:
    """Loads a weights file into a model, all of it or nothing.

    The file's sha256 must be the one in the manifest beside it, where that lists the file; what is hashed is
    what is loaded. Tensors are cast to the type the model keeps them in. A model on the meta
    device gets them as they are.

    Args:
        model: takes exactly the file's tensors.
        path: a .safetensors file, or the name of one in shards; other formats can run code when read.
        architecture: what the manifest or the file must say it is; None to take anything that fits.

    Returns:
        The manifest's entry, None where it lists no such file.

    Raises:
        WeightsError: unreadable, damaged, of another architecture; or a tensor is missing, unexpected or of
            another shape or kind. The model is as before.
    """
    entry = read_manifest(path.parent).get(path.name)
    data = _read_verified(path, entry, architecture)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise WeightsError(f"{path}: not a safetensors file ({reason}); get it again") from None
    del data
    wanted = model.state_dict()
    compare_tensors(path, tensors, wanted)
    # In place where the model has memory, assigned where it is a mere plan (meta).
    converted = {name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()}
    model.load_state_dict(converted, strict=True, assign=any(t.is_meta for t in wanted.values()))
    return entry


def file_hash(path: Path) -> str:
    """The sha256 of a file, as manifests and cards name it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(
    model: nn.Module,
    path: Path,
    *,
    architecture: str,
    licence: str,
    card: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    certainty: float = 1.0,
) -> ManifestEntry:
    """Writes a model's weights, their card and their manifest entry, each atomically.

    Args:
        path: a .safetensors file; its folder is made where needed and holds manifest and card.
        architecture: name in the registry, checked when the file is loaded.
        licence: SPDX identifier.
        card: facts for `STEM.json`, JSON values; {"scores": {...}} is what `lexor models` shows.
        dtype: of floating-point tensors on disk (torch.float16 halves the file); None keeps them.
        certainty: see `Segmenter`.

    Returns:
        The manifest's entry.

    Raises:
        WeightsError: `path` does not end in .safetensors, or a value overflows `dtype`.
    """
    _check_suffix(path)
    tensors = {}
    for name, tensor in model.state_dict().items():
        stored = tensor.detach().cpu()
        if dtype is not None and stored.is_floating_point():
            stored = stored.to(dtype)
            if not stored.isfinite().all():
                raise WeightsError(f"{path}: {name} is not finite in {dtype}; choose another dtype")
        tensors[name] = stored.contiguous().clone()
    data = save(tensors, metadata={"architecture": architecture})
    path.parent.mkdir(parents=True, exist_ok=True)
    card_name = None
    if card is not None:
        card_name = f"{path.stem}.json"
        _write_atomically(path.parent / card_name, _dump(card))
    entry = ManifestEntry(
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        architecture=architecture,
        parameters=count_parameters(model),
        licence=licence,
        card=card_name,
        certainty=certainty,
    )
    _write_atomically(path, data)
    entries = read_manifest(path.parent) | {path.name: entry}
    manifest = {name: asdict(entries[name]) for name in sorted(entries)}
    _write_atomically(path.parent / MANIFEST, _dump(manifest))
    return entry


def verify_weights(path: Path) -> None:
    """Checks a weights file against the manifest beside it.

    Raises:
        WeightsError: the manifest does not list it, or its size or sha256 differ.
    """
    entry = read_manifest(path.parent).get(path.name)
    if entry is None:
        raise WeightsError(f"{path}: not listed in {path.parent / MANIFEST}; nothing to verify it against")
    _read_verified(path, entry, None)


def compare_tensors(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Checks that a file holds a model's tensors, all of them and no others.

    Raises:
        WeightsError: names the tensors that differ, first by name, then by shape, then by kind, and both sides.
    """
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        raise WeightsError(
            f"{path}: the model wants {_names(missing)} that the file lacks; "
            f"the file has {_names(unexpected)} that the model lacks; choose the file of this model"
        )
    for what in ("shape", "kind"):
        different = [
            f"{name}: file says {_describe(found[name], what)}, model wants {_describe(wanted[name], what)}"
            for name in sorted(wanted)
            if _describe(found[name], what) != _describe(wanted[name], what)
        ]
        if different:
            shown = "; ".join(different[:NAMES_SHOWN])
            rest = f"; and {len(different) - NAMES_SHOWN} more" if len(different) > NAMES_SHOWN else ""
            raise WeightsError(f"{path}: {shown}{rest}; choose the file of this model")


def count_parameters(model: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in model.parameters())


def _check_suffix(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: weights must be a {SUFFIX} file; convert it first")


def _read_verified(path: Path, entry: ManifestEntry | None, architecture: str | None) -> bytes:
    """The bytes of a weights file, once they are what the manifest says."""
    _check_suffix(path)
    if not path.is_file() and _index_of(path).is_file():
        data = read_shards(_index_of(path))
    else:
        data = _read_bounded(path, entry)
    if entry is not None:
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            said = f"the manifest says {entry.sha256}"
            raise WeightsError(f"{path}: sha256 {found}, {said}; get the file again")
    held = _metadata(data).get("architecture") if entry is None else entry.architecture
    if architecture is not None and held is not None and held != architecture:
        raise WeightsError(
            f"{path}: file says architecture {held!r}, wanted {architecture!r}; choose another"
        )
    return data


def _read_bounded(path: Path, entry: ManifestEntry | None) -> bytes:
    """The bytes of a file of the size that the manifest says, and no larger than any of ours."""
    try:
        size = path.stat().st_size
    except OSError as problem:
        raise WeightsError(f"{path}: cannot be read ({problem.strerror}); check the path") from None
    if size > MAX_BYTES:
        raise WeightsError(f"{path}: {size} bytes, more than the {MAX_BYTES} allowed; not a file of Lexor's")
    if entry is not None and entry.bytes != size:
        raise WeightsError(f"{path}: {size} bytes, the manifest says {entry.bytes}; get the file again")
    try:
        return path.read_bytes()
    except OSError as problem:
        raise WeightsError(f"{path}: cannot be read ({problem.strerror}); check its permissions") from None


def _metadata(data: bytes) -> dict[str, str]:
    """The free-text metadata in a safetensors header; empty where it is unreadable, as `load` will say."""
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, 100 << 20):
        return {}
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    except (ValueError, KeyError, TypeError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _describe(tensor: Tensor, what: str) -> str:
    if what == "shape":
        return str(tuple(tensor.shape))
    return "real" if tensor.is_floating_point() else str(tensor.dtype)


def _names(names: list[str]) -> str:
    if not names:
        return "nothing"
    rest = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + rest


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise WeightsError(f"{path}: larger than {MAX_JSON_BYTES} bytes; restore the file")
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        if isinstance(problem, WeightsError):
            raise
        raise WeightsError(f"{path}: not readable JSON ({problem}); restore the file") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: holds a {type(value).__name__}, wanted an object; restore the file")
    return value


def _dump(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _write_atomically(path: Path, data: bytes) -> None:
    """Writes a file beside its place, then moves it there; readable by all, as a new file would be."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
