"""Weights in shards are found, loaded and verified as if they were whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lexor.errors import WeightsError
from lexor.models.shards import HEADER_BYTES, join_weights, split_weights
from lexor.models.weights import bundled_weights, find_weights, load_weights, save_weights, verify_weights


def make(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30), nn.Linear(30, 2))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_weights(make(0), path, architecture="net", licence="MIT", card={})
    return path


@pytest.fixture
def sharded(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name of the whole, which is there in shards only."""
    written = split_weights(whole, whole.parent, HEADER_BYTES + 5000)
    assert [path.name for path in written] == [
        "net-00001-of-00003.safetensors",
        "net-00002-of-00003.safetensors",
        "net-00003-of-00003.safetensors",
        "net.safetensors.index.json",
    ]
    whole.unlink()
    monkeypatch.setenv("LEXOR_WEIGHTS", str(whole.parent))
    return whole


def test_joined_they_are_the_file(whole: Path, tmp_path: Path) -> None:
    index = split_weights(whole, tmp_path / "shards", HEADER_BYTES + 5000)[-1]
    assert join_weights(index, tmp_path / "joined.safetensors").read_bytes() == whole.read_bytes()


def test_shards_are_found_and_loaded_by_the_name_of_the_whole(sharded: Path) -> None:
    assert find_weights("net.safetensors") == sharded
    assert bundled_weights("net.safetensors", "net") == sharded
    loaded, model = make(1), make(0)
    load_weights(loaded, sharded, architecture="net")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    verify_weights(sharded)


def test_shards_of_another_architecture_are_refused(sharded: Path) -> None:
    with pytest.raises(WeightsError, match="architecture 'net', wanted 'other'"):
        load_weights(make(1), sharded, architecture="other")


def test_a_flipped_byte_is_found_and_its_shard_named(sharded: Path) -> None:
    shard = sharded.with_name("net-00002-of-00003.safetensors")
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(WeightsError, match=r"net-00002-of-00003\.safetensors: its sha256 is not what net\."):
        verify_weights(sharded)
    # An index without the shards' own hashes still knows that of the whole.
    index = sharded.with_name("net.safetensors.index.json")
    facts = json.loads(index.read_text())
    del facts["metadata"]["shards"]
    index.write_text(json.dumps(facts))
    with pytest.raises(WeightsError, match=r"net\.safetensors\.index\.json: the joined shards are not"):
        verify_weights(sharded)


def test_a_missing_shard_is_named(sharded: Path) -> None:
    sharded.with_name("net-00002-of-00003.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"net-00002-of-00003\.safetensors: cannot be read"):
        load_weights(make(1), sharded)
