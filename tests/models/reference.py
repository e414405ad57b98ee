"""What the scripts against published code of the SegVol family share: importing it, and taking its weights over."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from lexor.models.factory import create_model
from lexor.models.segmenter import Segmenter
from lexor.models.segvol.checkpoint import MODEL, import_segvol


class Untrained(nn.Module):
    """Stands in for CLIP's text encoder: nothing is learnt in it, and nothing may ask it."""

    def __init__(self, config: object) -> None:
        super().__init__()


class Configuration:
    """Stands in for transformers' configurations."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)


class Pretrained(nn.Module):
    """Stands in for transformers' model, which keeps its configuration."""

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        self.config = config


class Tokenizer:
    """Stands in for CLIP's."""

    @classmethod
    def from_pretrained(cls, folder: str) -> Tokenizer:
        """One that knows no words."""
        return cls()


STAND_INS: dict[str, dict[str, Any]] = {
    "nibabel": {},
    "torchvision": {},
    "torchvision.ops": {},
    "torchvision.ops.boxes": {"batched_nms": None, "box_area": None},
    "torchvision.transforms": {},
    "torchvision.transforms.functional": {"resize": None, "to_pil_image": None},
    "tqdm": {"tqdm": iter},
    "transformers": {
        "AutoConfig": Configuration,
        "AutoTokenizer": Tokenizer,
        "CLIPTextConfig": Configuration,
        "CLIPTextModel": Untrained,
        "PretrainedConfig": Configuration,
        "PreTrainedModel": Pretrained,
    },
}


@contextmanager
def importable(repo: Path) -> Iterator[None]:
    """Within it, a repository's modules can be imported; stand-ins are there for what they never call here.

    MONAI's ViT takes under another name what they call `pos_embed`, the kind of its patch embedding.

    Raises:
        SystemExit: no such folder, or no einops, in terms of which MONAI's patches are written.
    """
    # MONAI looks for the real ones when it is imported, so it comes first.
    import monai.networks.nets as nets

    import_module("monai.transforms")

    if not repo.is_dir():
        raise SystemExit(f"{repo}: no such folder; give a checkout of the reference")
    if find_spec("einops") is None:
        raise SystemExit("MONAI's ViT needs einops: pip install einops")
    vit = nets.ViT
    nets.ViT = lambda pos_embed, **options: vit(proj_type=pos_embed, **options)
    before = {name: sys.modules.get(name) for name in STAND_INS}
    for name, members in STAND_INS.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
    sys.path.insert(0, str(repo.resolve()))
    try:
        yield
    finally:
        nets.ViT = vit
        sys.path.remove(str(repo.resolve()))
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def taken_over(checkpoint: dict[str, Any]) -> Segmenter:
    """Lexor's model with the weights of a checkpoint, imported as `lexor weights import-segvol` does."""
    with tempfile.TemporaryDirectory() as folder:
        source, weights = Path(folder, "checkpoint.pth"), Path(folder, "segvol.safetensors")
        torch.save(checkpoint, source)
        done = import_segvol(source, weights)
        print(f"imported from {done.layout}; left out: {dict(done.left_out)}")
        return create_model(MODEL, weights=weights)


def relative_gap(found: Tensor, wanted: Tensor) -> float:
    """The largest difference of two tensors, as a share of the largest value that is wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max())
