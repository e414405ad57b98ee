"""Weights in several small files, named and indexed as users of safetensors expect.

STEM-00001-of-00003.safetensors and so on hold whole tensors; STEM.safetensors.index.json says which holds what:
{"metadata": {"total_size", "sha256", "shards": {file: sha256}}, "weight_map": {tensor: file}}, sha256 being that of
the joined file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lexor.errors import WeightsError

SUFFIX = ".safetensors"
# Of the file that says which shards make up a weights file that is not there in one piece.
INDEX_SUFFIX = ".index.json"
LIMIT_BYTES = 16_000_000
# For a shard's header, besides its tensors.
HEADER_BYTES = 100_000


def split_weights(path: Path, folder: Path, limit_bytes: int = LIMIT_BYTES) -> list[Path]:
    """Writes a weights file as shards below a size, and their index.

    Args:
        path: a .safetensors file.
        folder: of the shards, made where needed.
        limit_bytes: no shard is larger.

    Returns:
        The shards, then the index.

    Raises:
        WeightsError: unreadable, or one tensor alone exceeds the limit.
    """
    tensors, metadata = _read(path)
    groups: list[dict[str, Tensor]] = [{}]
    room = budget = limit_bytes - HEADER_BYTES
    for name, tensor in tensors.items():
        if tensor.nbytes > budget:
            raise WeightsError(
                f"{path}: {name} alone has {tensor.nbytes} bytes, a shard {limit_bytes}; raise the limit"
            )
        if tensor.nbytes > room:
            groups.append({})
            room = budget
        groups[-1][name] = tensor
        room -= tensor.nbytes
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    places: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = folder / f"{path.stem}-{number:05}-of-{len(groups):05}{SUFFIX}"
        data = save(group, metadata=metadata)
        file.write_bytes(data)
        hashes[file.name] = hashlib.sha256(data).hexdigest()
        written.append(file)
        places |= dict.fromkeys(group, file.name)
    index = {
        "metadata": {
            "total_size": sum(tensor.nbytes for tensor in tensors.values()),
            "sha256": hashlib.sha256(save(tensors, metadata=metadata)).hexdigest(),
            "shards": hashes,
        },
        "weight_map": places,
    }
    file = folder / f"{path.name}{INDEX_SUFFIX}"
    file.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")
    return [*written, file]


def join_weights(index: Path, path: Path) -> Path:
    """Puts the shards of an index together again.

    Args:
        index: STEM.safetensors.index.json, the shards beside it.
        path: the .safetensors file to write.

    Raises:
        WeightsError: a shard is missing or damaged, or the whole is not what the index says.
    """
    data = read_shards(index)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    return temporary.replace(path)


def read_shards(index: Path) -> bytes:
    """The bytes of the file that the shards of an index make.

    Raises:
        WeightsError: a shard is missing or damaged, or the whole is not what the index says.
    """
    try:
        facts = json.loads(index.read_text("utf-8"))
        places: dict[str, str] = facts["weight_map"]
        wanted = facts["metadata"]["sha256"]
        # Indices written elsewhere have none: then the whole is all that can be checked.
        hashes: dict[str, str] = dict(facts["metadata"].get("shards", {}))
        names = sorted(set(places.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise WeightsError(f"{index}: not an index of shards ({problem}); get it again") from None
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for name in names:
        if Path(name).name != name:
            raise WeightsError(f"{index}: shard {name!r} is no plain file name; get it again")
        shard = index.parent / name
        found, metadata = _read(shard)
        if name in hashes and hashlib.sha256(shard.read_bytes()).hexdigest() != hashes[name]:
            raise WeightsError(f"{shard}: its sha256 is not what {index.name} says; get it again")
        tensors |= found
    data: bytes = save(tensors, metadata=metadata)
    if hashlib.sha256(data).hexdigest() != wanted:
        raise WeightsError(f"{index}: the joined shards are not what it says; get them again")
    return data


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, sorted, and the free-text metadata."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata() or {}
    except (OSError, SafetensorError) as problem:
        reason = str(problem).splitlines()[0]
        raise WeightsError(f"{path}: cannot be read ({reason}); get it again") from None
