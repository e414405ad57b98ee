"""Models by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lexor.errors import WeightsError
from lexor.models import factory
from lexor.models.encoders.vit import ViT
from lexor.models.factory import Architecture, create_model, list_models
from lexor.models.segvol.network import SegVolSegmenter
from lexor.models.weights import save_weights

WINDOW = (8, 32, 32)


def build_tiny(width: int = 16) -> SegVolSegmenter:
    encoder = ViT(1, width=width, depth=1, heads=2, window=WINDOW)
    return SegVolSegmenter(encoder, WINDOW, heads=2, hidden=8)


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small model in the registry, an empty folder for its weights."""
    entry = Architecture(__name__, "build_tiny", {}, "tiny.safetensors")
    monkeypatch.setattr(factory, "ARCHITECTURES", {**factory.ARCHITECTURES, "tiny": entry})
    monkeypatch.setenv("LEXOR_WEIGHTS", str(tmp_path))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_the_registry_has_the_models_of_the_paper() -> None:
    rows = {info.name: info for info in list_models()}
    assert {"mobilenet3d", "mobilenetv3", "fastvit", "vit_b", "segvol_vit_b", "tiny"} <= set(rows)
    assert rows["tiny"].parameters == sum(p.numel() for p in build_tiny().parameters())
    assert rows["segvol_vit_b"].parameters > rows["vit_b"].parameters > 86e6 > rows["vit_s"].parameters
    assert not rows["tiny"].bundled
    assert rows["tiny"].licence is None
    assert rows["tiny"].scores == {}


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("vit_s", (4, 8, 8)),
        ("vit_b", (4, 8, 8)),
        ("segvol_vit_s", (4, 16, 16)),
        ("segvol_vit_b", (4, 16, 16)),
    ],
)
def test_a_vit_has_segvols_patches_in_segvols_window(name: str, stride: tuple[int, int, int]) -> None:
    """And finer ones in the window of the light family."""
    with torch.device("meta"):
        model = factory.ARCHITECTURES[name].build()
    (vit,) = (part for part in model.modules() if isinstance(part, ViT))
    assert vit.strides == (stride,)
    grid = [n // s for n, s in zip(model.window, stride, strict=True)]
    assert list(vit.patch_embedding.grid) == grid
    assert (model.window == (32, 256, 256)) == name.startswith("segvol")


def test_bundled_weights_are_loaded_and_listed(tmp_path: Path) -> None:
    model = create_model("tiny", weights=None, seed=3)
    card = {"scores": {"DSC": 0.7, "note": "text"}}
    save_weights(model, tmp_path / "tiny.safetensors", architecture="tiny", licence="Apache-2.0", card=card)
    loaded = create_model("tiny")
    assert same(loaded, model)
    assert not loaded.training
    (info,) = (info for info in list_models() if info.name == "tiny")
    assert info.bundled
    assert info.weights == tmp_path / "tiny.safetensors"
    assert info.licence == "Apache-2.0"
    assert info.scores == {"DSC": 0.7}


def test_weights_from_a_path(tmp_path: Path) -> None:
    model = create_model("tiny", weights=None, seed=3)
    path = tmp_path / "sub" / "mine.safetensors"
    save_weights(model, path, architecture="tiny", licence="MIT")
    assert same(create_model("tiny", weights=path), model)
    assert same(create_model("tiny", weights=str(path)), model)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(build_tiny(), path, architecture="tiny", licence="MIT")
    with pytest.raises(WeightsError, match="file says architecture 'tiny', wanted 'vit_s'"):
        create_model("vit_s", weights=path)


def test_without_bundled_weights_there_is_no_silent_random_model() -> None:
    with pytest.raises(
        WeightsError, match=r"no weights of model 'tiny' in .*weights=FILE, or None for a random"
    ):
        create_model("tiny")


def test_random_initialisation_is_seeded_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = create_model("tiny", weights=None, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert same(first, create_model("tiny", weights=None, seed=1))
    assert not same(first, create_model("tiny", weights=None, seed=2))
    assert not first.training


def test_device_is_where_the_model_is() -> None:
    model = create_model("tiny", weights=None, device="meta")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(
        ValueError,
        match=r"no model 'vit-b'; did you mean 'vit_b'\? known are mobilenet3d, mobilenetv3, fastvit, ",
    ):
        create_model("vit-b")
