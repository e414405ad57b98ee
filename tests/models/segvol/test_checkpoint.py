"""SegVol's published checkpoints become weights, or an error that names the tensor."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lexor.errors import WeightsError
from lexor.models import factory
from lexor.models.encoders.vit import ViT
from lexor.models.factory import Architecture, create_model
from lexor.models.segvol.checkpoint import MODEL, import_segvol
from lexor.models.segvol.network import SegVolSegmenter
from lexor.models.weights import read_card, read_manifest

WINDOW = (8, 32, 32)
Make = Callable[[dict[str, Any]], Path]


def build_small() -> SegVolSegmenter:
    encoder = ViT(1, width=16, depth=2, heads=2, window=WINDOW)
    return SegVolSegmenter(encoder, WINDOW, heads=2, hidden=8, published=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """SegVol in small, under its name; the names of its tensors are those of the large one."""
    entry = Architecture(__name__, "build_small", {}, "segvol_vit_b.safetensors")
    monkeypatch.setattr(factory, "ARCHITECTURES", {**factory.ARCHITECTURES, MODEL: entry})
    monkeypatch.setattr("lexor.models.segvol.checkpoint.ARCHITECTURES", {MODEL: entry})


@pytest.fixture
def model() -> SegVolSegmenter:
    torch.manual_seed(0)
    return build_small().eval()


@pytest.fixture
def published(model: SegVolSegmenter) -> dict[str, Tensor]:
    """Its tensors, and those that SegVol has besides."""
    return {
        **model.state_dict(),
        "text_encoder.clip_text_model.text_model.embeddings.position_ids": torch.arange(77)[None],
        "text_encoder.clip_text_model.text_model.final_layer_norm.weight": torch.ones(512),
        "text_encoder.dim_align.weight": torch.ones(16, 512),
        "mask_decoder.txt_align_upscaled_embedding.weight": torch.ones(2, 16),
        "mask_decoder.txt_align_upscaled_embedding.bias": torch.ones(2),
        "prompt_encoder.mask_downscaling.0.weight": torch.ones(4, 1, 2, 2),
        "image_encoder.patch_embedding.cls_token": torch.zeros(1, 1, 16),
        "image_encoder.blocks.1.norm_cross_attn.weight": torch.ones(16),
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(held: dict[str, Any]) -> Path:
        path = tmp_path / "source.pth"
        torch.save(held, path)
        return path

    return write


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def layouts(tensors: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    return {
        "{'model': {'module.<name>'}}": {"model": prefixed(tensors, "module."), "epoch": 270},
        "{'model.<name>'}": prefixed(tensors, "model."),
        "{'model_state_dict': {'model.<name>'}}": {"model_state_dict": prefixed(tensors, "model.")},
        "{'<name>'}": dict(tensors),
    }


@pytest.mark.parametrize("layout", sorted(layouts({})))
def test_every_published_layout_gives_the_model(
    layout: str, published: dict[str, Tensor], make: Make, model: SegVolSegmenter, tmp_path: Path
) -> None:
    source, path = make(layouts(published)[layout]), tmp_path / "out" / "segvol.safetensors"
    done = import_segvol(source, path)
    assert done.layout == layout
    loaded = create_model(MODEL, weights=path)
    image = torch.randn(2, 1, *WINDOW)
    box = torch.tensor([[1, 4, 6, 6, 19, 29], [0, 0, 0, 7, 31, 31]])
    points = (torch.tensor([[[3, 10, 20]], [[5, 3, 7]]]), torch.tensor([[1], [0]]))
    with torch.no_grad():
        logits = loaded(image, boxes=box, points=points)
        assert logits.shape == (2, 1, *WINDOW)
        torch.testing.assert_close(logits, model(image, boxes=box, points=points), rtol=0, atol=0)


def test_what_is_left_out_is_counted_and_put_on_the_card(
    published: dict[str, Tensor], make: Make, tmp_path: Path
) -> None:
    source, path = make(prefixed(published, "model.")), tmp_path / "segvol.safetensors"
    done = import_segvol(source, path)
    assert done.left_out == {
        "CLIP text encoder": 3,
        "comparison of the image with a text": 2,
        "mask prompts of 2D SAM, never trained": 1,
        "class token, unused": 1,
        "norms of cross-attention, unused": 1,
    }
    card = read_card(path)
    assert card["left_out"] == done.left_out
    assert card["imported_from"] == {
        "file": "source.pth",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "layout": "{'model.<name>'}",
    }
    assert read_manifest(tmp_path)["segvol.safetensors"] == done.entry
    assert (done.entry.architecture, done.entry.licence) == (MODEL, "MIT")


def test_half_precision_is_widened(published: dict[str, Tensor], make: Make, tmp_path: Path) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in published.items()}
    import_segvol(make({"model": prefixed(halves, "module.")}), tmp_path / "segvol.safetensors")
    loaded = create_model(MODEL, weights=tmp_path / "segvol.safetensors").state_dict()
    name = "mask_decoder.iou_token.weight"
    torch.testing.assert_close(loaded[name], published[name].half().float(), rtol=0, atol=0)


NAME = "mask_decoder.output_upscaling.1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(NAME), rf"the model wants {NAME} that the file lacks"),
        (lambda t: t.update(odd=torch.ones(2)), r"the file has odd that the model lacks"),
        (
            lambda t: t.update({NAME: torch.ones(4)}),
            rf"{NAME}: file says \(4,\), model wants \(4, 4, 4, 4\)",
        ),
        (lambda t: t.update({NAME: t[NAME].long()}), rf"{NAME}: file says torch.int64, model wants real"),
        (lambda t: t.update({NAME: t[NAME] / 0}), rf"{NAME} holds values that are no numbers"),
    ],
)
def test_a_tensor_that_is_wrong_is_named_and_nothing_written(
    change: Callable[[dict[str, Tensor]], Any],
    message: str,
    published: dict[str, Tensor],
    make: Make,
    tmp_path: Path,
) -> None:
    change(published)
    source = make({"model": prefixed(published, "module.")})
    with pytest.raises(WeightsError, match=message) as caught:
        import_segvol(source, tmp_path / "segvol.safetensors")
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["source.pth"]


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("touched"),)  # type: ignore[return-value]


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "evil.pth"
    torch.save({"model": Evil()}, source)
    with pytest.raises(WeightsError, match=r"evil\.pth: not a checkpoint of tensors \(it holds more than"):
        import_segvol(source, tmp_path / "segvol.safetensors")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such file"),
        (b"", "not a checkpoint of tensors"),
        (b"PK\x03\x04 not a zip", "not a checkpoint of tensors"),
        (pickle.dumps({"model": 3}, protocol=2), "not a checkpoint of tensors|neither"),
        (b"\x80", r"not a checkpoint of tensors \(index out of range\)"),
        (b"\x80\x02.", r"not a checkpoint of tensors \(pop from empty list\)"),
        (b"\x80\x02M.", r"not a checkpoint of tensors \(unpack requires a buffer of 2 bytes\)"),
        (b"\x80\x04.", "not a checkpoint of tensors"),
    ],
)
def test_what_is_no_checkpoint_is_said(data: bytes | None, message: str, tmp_path: Path) -> None:
    source = tmp_path / "source.pth"
    if data is not None:
        source.write_bytes(data)
    with pytest.raises(WeightsError, match=message) as caught:
        import_segvol(source, tmp_path / "segvol.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("new", [True, False])
def test_no_mutation_of_a_checkpoint_is_anything_but_refused(new: bool, tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.save({"model.x": torch.zeros(3)}, whole, _use_new_zipfile_serialization=new)
    source, rng = tmp_path / "source.pth", random.Random(0)
    for _ in range(150):
        data = bytearray(whole.getvalue())
        for _ in range(rng.choice((1, 1, 3))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        source.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        # Sound or damaged, it is not the model: one line says so.
        with pytest.raises(WeightsError) as caught:
            import_segvol(source, tmp_path / "segvol.safetensors")
        assert str(caught.value).startswith(f"{source}: ")
    assert [file.name for file in tmp_path.iterdir()] == ["source.pth"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(WeightsError, match=r"pipe\.pth: not a file; give SegVol's published one"):
        import_segvol(tmp_path / "pipe.pth", tmp_path / "segvol.safetensors")


def test_another_layout_is_said(make: Make, tmp_path: Path) -> None:
    source = make({"weights": {"a": torch.ones(1)}})
    with pytest.raises(WeightsError, match=r"neither \{'model': \{'module\.<name>': tensor\}\} nor"):
        import_segvol(source, tmp_path / "segvol.safetensors")


def test_an_old_file_that_cannot_be_mapped_is_read(
    published: dict[str, Tensor], tmp_path: Path, model: SegVolSegmenter
) -> None:
    source = tmp_path / "old.pth"
    torch.save({"model": prefixed(published, "module.")}, source, _use_new_zipfile_serialization=False)
    import_segvol(source, tmp_path / "segvol.safetensors")
    loaded = create_model(MODEL, weights=tmp_path / "segvol.safetensors")
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
