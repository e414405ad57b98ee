"""SegVol's published checkpoints as weights of `segvol_vit_b` (BAAI-DCAI/SegVol, MIT licence).

Two layouts are published: `SegVol_v1.pth`, {"model": {"module.<name>": tensor}}, as its training wrote it; and the
hub's `pytorch_model.bin`, {"model.<name>": tensor}. The paper's own training wrote {"model_state_dict":
{"model.<name>": tensor}}. Names and shapes of what Lexor keeps are the same in all of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lexor.errors import WeightsError
from lexor.models.factory import ARCHITECTURES
from lexor.models.weights import ManifestEntry, compare_tensors, count_parameters, file_hash, save_weights

MODEL = "segvol_vit_b"
LICENCE = "MIT"
# What a checkpoint may hold the tensors under, if it does not hold them at its top.
HOLDERS = ("model", "model_state_dict", "state_dict")
PREFIXES = ("module.", "model.")
# What Lexor leaves out, and why that changes no answer to a box or a point.
LEFT_OUT = (
    ("CLIP text encoder", r"text_encoder\."),
    ("comparison of the image with a text", r"mask_decoder\.txt_align_upscaled_embedding\."),
    ("mask prompts of 2D SAM, never trained", r"prompt_encoder\.mask_downscaling\."),
    # MONAI's blocks have held these unused, in one version or another.
    ("class token, unused", r"image_encoder\.(patch_embedding\.)?cls_token$"),
    ("norms of cross-attention, unused", r"image_encoder\.blocks\.\d+\.norm_cross_attn\."),
)


@dataclass(frozen=True)
class Import:
    """What an import did.

    Attributes:
        entry: the manifest's, of the file written.
        layout: how the tensors were found in the source, such as "{'model': {'module.<name>'}}".
        left_out: what was not taken, with its number of tensors.
    """

    entry: ManifestEntry
    layout: str
    left_out: Mapping[str, int]


def import_segvol(source: Path, path: Path) -> Import:
    """Converts a checkpoint of SegVol to weights that `create_model("segvol_vit_b", weights=path)` takes.

    Args:
        source: a checkpoint of any layout above; it is read as data, nothing in it is run.
        path: the .safetensors file to write; its card and manifest entry are written beside it.

    Raises:
        WeightsError: unreadable, of no known layout, or a tensor is missing, unknown, of another shape or kind, or
            holds values that are no numbers. Nothing is written.
    """
    tensors, layout = _tensors_of(source, _load(source))
    kept, left_out = _sift(tensors)
    with torch.device("meta"):
        model = ARCHITECTURES[MODEL].build()
    wanted = model.state_dict()
    compare_tensors(source, kept, wanted)
    broken = [name for name, tensor in sorted(kept.items()) if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"{source}: {broken[0]} holds values that are no numbers; get the file again")
    converted = {name: tensor.to(wanted[name].dtype) for name, tensor in kept.items()}
    model.load_state_dict(converted, strict=True, assign=True)
    card = {
        "model": MODEL,
        "what": "SegVol as published: ViT-B encoder, box and point prompts; its text prompts are left out",
        "licence": f"{LICENCE}, that of BAAI-DCAI/SegVol; ask its authors for the terms of its training data",
        "parameters": count_parameters(model),
        "imported_from": {"file": source.name, "sha256": file_hash(source), "layout": layout},
        "left_out": left_out,
        "scores": {},
    }
    entry = save_weights(model, path, architecture=MODEL, licence=LICENCE, card=card)
    return Import(entry, layout, left_out)


def _load(source: Path) -> Any:
    if source.exists() and not source.is_file():
        raise WeightsError(f"{source}: not a file; give SegVol's published one")
    try:
        # Mapped, so that the text encoder's quarter of a gigabyte is never read.
        return _read(source, mmap=True)
    except FileNotFoundError:
        raise WeightsError(f"{source}: no such file; check the path") from None
    except OSError as problem:
        raise WeightsError(f"{source}: cannot be read ({problem.strerror}); check the path") from None
    except Exception as mapped:  # torch's reader raises a dozen unrelated types on damaged files
        if "mmap" not in str(mapped):
            raise _unreadable(source, mapped) from None
    try:
        # Checkpoints from before torch 1.6 are no zip files, and cannot be mapped.
        return _read(source)
    except Exception as problem:
        raise _unreadable(source, problem) from None


def _read(source: Path, mmap: bool = False) -> Any:
    with warnings.catch_warnings():
        # Of odd pickles; what counts is whether the tensors come out.
        warnings.simplefilter("ignore")
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)


def _unreadable(source: Path, problem: Exception) -> WeightsError:
    if "Weights only load failed" in str(problem):
        reason = "it holds more than tensors, which could run code"
    else:
        reason = next(iter(str(problem).splitlines()), type(problem).__name__)
    return WeightsError(f"{source}: not a checkpoint of tensors ({reason}); get SegVol's published file")


def _tensors_of(source: Path, held: Any) -> tuple[dict[str, Tensor], str]:
    """The tensors by their names in SegVol's model, and the layout they were found in."""
    layout = "{%s}"
    for holder in HOLDERS:
        if isinstance(held, Mapping) and isinstance(held.get(holder), Mapping):
            held, layout = held[holder], f"{{{holder!r}: {{%s}}}}"
            break
    if not isinstance(held, Mapping) or not any(isinstance(value, Tensor) for value in held.values()):
        raise WeightsError(
            f"{source}: neither {{'model': {{'module.<name>': tensor}}}} nor {{'model.<name>': tensor}}; "
            "get SegVol_v1.pth or the hub's pytorch_model.bin"
        )
    names = {str(name): value for name, value in held.items() if isinstance(value, Tensor)}
    found = ""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in names):
            names = {name.removeprefix(prefix): value for name, value in names.items()}
            found += prefix
    return names, layout % f"'{found}<name>'"


def _sift(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """What Lexor keeps, and how many tensors of what it does not."""
    kept, left_out = {}, dict.fromkeys((what for what, _ in LEFT_OUT), 0)
    for name, tensor in tensors.items():
        what = next((what for what, pattern in LEFT_OUT if re.match(pattern, name)), None)
        if what is None:
            kept[name] = tensor
        else:
            left_out[what] += 1
    return kept, {what: count for what, count in left_out.items() if count}
