"""Weights on disk: what is loaded is what was saved, all of it, or an error that names both sides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lexor.errors import WeightsError
from lexor.models import weights
from lexor.models.weights import (
    bundled_weights,
    load_weights,
    read_card,
    read_manifest,
    save_weights,
    verify_weights,
    weight_folders,
)


def make(seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
    model.register_buffer("constant", torch.randn(2))
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    card = {"scores": {"DSC": 0.75}, "minutes": 60}
    save_weights(make(), path, architecture="net", licence="Apache-2.0", card=card)
    return path


def same(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in a.state_dict().items())


def error_of(path: Path, model: nn.Module | None = None, architecture: str | None = None) -> str:
    """The message of a failed load, which must be one line and leave the model alone."""
    model = model or make(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(model, path, architecture=architecture)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path.parent))
    return message


def test_round_trip(saved: Path) -> None:
    model = make(1)
    assert not same(model, make())
    load_weights(model, saved, architecture="net")
    assert same(model, make())


def test_round_trip_onto_a_meta_model(saved: Path) -> None:
    with torch.device("meta"):
        model = make(1)
    load_weights(model, saved)
    assert same(model, make())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_manifest_and_card_say_what_was_saved(saved: Path) -> None:
    entry = read_manifest(saved.parent)["net.safetensors"]
    assert entry.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert entry.bytes == saved.stat().st_size
    assert (entry.architecture, entry.licence, entry.card) == ("net", "Apache-2.0", "net.json")
    assert entry.parameters == 3 * 4 + 4 + 4 + 4
    assert read_card(saved) == {"scores": {"DSC": 0.75}, "minutes": 60}
    verify_weights(saved)
    # Nothing temporary is left.
    assert sorted(path.name for path in saved.parent.iterdir()) == [
        "manifest.json",
        "net.json",
        "net.safetensors",
    ]


def test_the_entry_keeps_the_certainty_and_whoever_loads_the_file_is_told(saved: Path) -> None:
    assert load_weights(make(1), saved).certainty == 1
    entry = save_weights(make(), saved, architecture="net", licence="MIT", certainty=0.25)
    assert load_weights(make(1), saved) == entry == read_manifest(saved.parent)[saved.name]
    assert entry.certainty == 0.25
    (saved.parent / "manifest.json").unlink()
    assert load_weights(make(1), saved) is None


@pytest.mark.parametrize("value", ['"0.5"', "1.5", "-1", "NaN", "null"])
def test_a_certainty_that_is_no_share_is_an_error(saved: Path, value: str) -> None:
    manifest = saved.parent / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"certainty": 1.0', f'"certainty": {value}'))
    assert "'net.safetensors'" in error_of(saved)


def test_saving_again_keeps_other_entries(saved: Path) -> None:
    save_weights(make(2), saved.with_name("other.safetensors"), architecture="other", licence="MIT")
    before = read_manifest(saved.parent)["net.safetensors"]
    save_weights(make(3), saved, architecture="net", licence="MIT")
    entries = read_manifest(saved.parent)
    assert list(entries) == ["net.safetensors", "other.safetensors"]
    assert entries["net.safetensors"].sha256 != before.sha256
    assert entries["other.safetensors"].card is None
    verify_weights(saved)


def test_half_precision_on_disk_is_cast_to_the_models_dtype(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_weights(make(), path, architecture="net", licence="MIT", dtype=torch.float16)
    with torch.device("meta"):
        planned = make(1)
    for model in (make(1), planned):
        load_weights(model, path)
        assert model.state_dict()["0.weight"].dtype == torch.float32
        assert torch.equal(model.state_dict()["0.weight"], make().state_dict()["0.weight"].half().float())
        assert model.state_dict()["1.num_batches_tracked"].dtype == torch.int64


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    model = make()
    model.state_dict()["0.bias"].fill_(1e6)
    with pytest.raises(WeightsError, match=r"0\.bias is not finite in torch\.float16"):
        save_weights(
            model, tmp_path / "x.safetensors", architecture="net", licence="MIT", dtype=torch.float16
        )
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_is_named_with_both_hashes(saved: Path) -> None:
    wanted = read_manifest(saved.parent)["net.safetensors"].sha256
    data = bytearray(saved.read_bytes())
    data[-3] ^= 1
    saved.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()
    message = error_of(saved)
    assert str(saved) in message
    assert f"sha256 {found}, the manifest says {wanted}" in message
    with pytest.raises(WeightsError, match=found):
        verify_weights(saved)


def test_a_truncated_file_is_named_with_both_sizes(saved: Path) -> None:
    size = saved.stat().st_size
    saved.write_bytes(saved.read_bytes()[:-5])
    assert f"{size - 5} bytes, the manifest says {size}" in error_of(saved)


def test_another_architecture_is_refused(saved: Path) -> None:
    assert "file says architecture 'net', wanted 'vit'" in error_of(saved, architecture="vit")
    # The file says so itself where no manifest does.
    (saved.parent / "manifest.json").unlink()
    assert "file says architecture 'net', wanted 'vit'" in error_of(saved, architecture="vit")


def test_a_mismatched_shape_names_both_sides(saved: Path) -> None:
    message = error_of(saved, make(1, width=5))
    assert "0.weight: file says (4, 3), model wants (5, 3)" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "the model wants 0.bias that the file lacks; the file has nothing that"),
        ({"2.bias": torch.zeros(1)}, "the model wants nothing that the file lacks; the file has 2.bias that"),
        ({"0.bias": torch.zeros(4, dtype=torch.int64)}, "0.bias: file says torch.int64, model wants real"),
    ],
)
def test_missing_unexpected_and_wrong_tensors_are_named(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    tensors = {k: v for k, v in {**make().state_dict(), **change}.items() if v is not None}
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    assert message in error_of(path)


def test_many_differences_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({f"x{i}": torch.zeros(1) for i in range(9)}, path)
    assert "x0, x1, x2, x3, x4 and 4 more" in error_of(path)


def test_a_file_without_manifest_loads_if_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "trained.safetensors"
    save_file(make().state_dict(), path)
    model = make(1)
    load_weights(model, path)
    assert same(model, make())
    with pytest.raises(WeightsError, match="nothing to verify it against"):
        verify_weights(path)


def test_only_safetensors_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(make().state_dict(), path)
    assert "must be a .safetensors file" in error_of(path)
    disguised = path.rename(tmp_path / "net.safetensors")
    assert "not a safetensors file" in error_of(disguised)
    with pytest.raises(WeightsError, match=r"must be a \.safetensors"):
        save_weights(make(), tmp_path / "net.pt", architecture="net", licence="MIT")


def test_unreadable_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in error_of(tmp_path / "absent.safetensors")
    path = tmp_path / "big.safetensors"
    path.write_bytes(bytes(100))
    monkeypatch.setattr(weights, "MAX_BYTES", 99)
    assert "100 bytes, more than the 99 allowed" in error_of(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "holds a list"),
        ('{"net.safetensors": {"sha256": "0"}}', "entry 'net.safetensors'"),
        ('{"net.safetensors": 3}', "entry 'net.safetensors'"),
    ],
)
def test_a_broken_manifest_is_an_error(saved: Path, text: str, message: str) -> None:
    (saved.parent / "manifest.json").write_text(text)
    assert message in error_of(saved)


def test_a_card_cannot_point_out_of_its_folder(saved: Path) -> None:
    manifest = saved.parent / "manifest.json"
    entries = json.loads(manifest.read_text())
    entries["net.safetensors"]["card"] = "../secret.json"
    manifest.write_text(json.dumps(entries))
    with pytest.raises(WeightsError, match="no plain file name"):
        read_card(saved)


def test_folders_are_searched_in_order(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEXOR_WEIGHTS", raising=False)
    package = Path(weights.__file__).parents[1]
    assert weight_folders() == [
        package / "weights",
        package.parents[1] / "weights",
        Path("/workspace/weights"),
    ]
    monkeypatch.setenv("LEXOR_WEIGHTS", str(saved.parent))
    assert weight_folders()[0] == saved.parent
    assert bundled_weights("net.safetensors", "net") == saved


def test_a_miss_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXOR_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        bundled_weights("absent.safetensors", "net")
    message = str(caught.value)
    assert all(str(folder) in message for folder in weight_folders())
    assert "absent.safetensors" in message
    assert "'net'" in message
    assert "\n" not in message


def test_bundled_weights_must_be_in_the_manifest(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXOR_WEIGHTS", str(saved.parent))
    (saved.parent / "manifest.json").unlink()
    with pytest.raises(WeightsError, match=r"not listed in .*manifest\.json"):
        bundled_weights("net.safetensors", "net")
