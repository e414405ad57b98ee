"""Compares `segvol_vit_b` with SegVol's own forward, at its published size, on the same seeded weights.

    pip install einops
    python tests/models/against_segvol.py REPO

REPO: a checkout of github.com/BAAI-DCAI/SegVol. Its image encoder is MONAI's ViT, of the `train` extra. CLIP's text
encoder is stubbed, as no prompt is a text: nothing is downloaded. The weights are written as SegVol's training wrote
them, imported as `lexor weights import-segvol` does, and loaded by name.

Prints, for a box, for points, and for both, the largest difference of all logits as a share of the largest logit,
and how far the values of segvol_golden.py are from theirs; exits 1 if the one exceeds 1e-4 or the other 2e-5.
At commit 5768c97 of theirs, in float32 on a CPU: 1.2e-6, 1.4e-6, 1.2e-6.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from reference import importable, relative_gap, taken_over
from segvol_golden import FULL, KINDS, seeded_image, seeded_state
from torch import nn

from lexor.models.factory import create_model
from lexor.models.segvol.checkpoint import MODEL

PATCH = (4, 16, 16)


def build_reference(repo: Path) -> nn.Module:
    """SegVol for predictions, with seeded weights wherever Lexor has weights too."""
    with importable(repo):
        from network.model import SegVol
        from segment_anything_volumetric import sam_model_registry
    sam = sam_model_registry["vit"](SimpleNamespace(spatial_size=FULL.window, patch_size=PATCH))
    model: nn.Module = SegVol(
        image_encoder=sam.image_encoder,
        mask_decoder=sam.mask_decoder,
        prompt_encoder=sam.prompt_encoder,
        clip_ckpt="",
        roi_size=FULL.window,
        patch_size=PATCH,
        test_mode=True,
    )
    weights = seeded_state(create_model(MODEL, weights=None, device="meta").state_dict())
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    if unknown:
        raise SystemExit(f"not SegVol as Lexor knows it: it has no {', '.join(unknown)}")
    return model.eval()


def main() -> int:
    """Runs both, and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repo", type=Path)
    options = parser.parse_args()

    theirs = build_reference(options.repo)
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    ours = taken_over({"model": state})
    image = seeded_image(FULL.window)
    failed = False
    with torch.no_grad():
        for kind in KINDS:
            wanted = theirs(image, **FULL.prompts(kind))
            gap = relative_gap(ours(image, **FULL.prompts(kind)), wanted)
            golden = FULL.gap(kind, wanted)
            print(f"{kind}: relative difference {gap:.1e}; golden values {golden:.1e} from theirs")
            failed |= gap > 1e-4 or golden > 2e-5
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
