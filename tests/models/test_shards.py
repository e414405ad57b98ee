import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lexor.models.checkpoints import WeightsError
from lexor.models.shards import join_weights, split_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    tensors = {f"layer{i}.weight": torch.randn(100_000, generator=torch.manual_seed(i)) for i in range(5)}
    save_file(tensors | {"bias": torch.arange(3)}, path, metadata={"architecture": "net"})
    return path


def test_shards_stay_below_the_limit_and_join_to_the_same(weights: Path, tmp_path: Path) -> None:
    *shards, index = split_weights(weights, tmp_path / "shards", 1_000_000)
    assert [shard.name for shard in shards] == [f"net-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]
    assert all(shard.stat().st_size <= 1_000_000 for shard in shards)
    facts = json.loads(index.read_text())
    assert facts["metadata"]["total_size"] == 5 * 400_000 + 24
    assert facts["weight_map"]["layer4.weight"] == "net-00003-of-00003.safetensors"
    joined = join_weights(index, tmp_path / "joined.safetensors")
    wanted, found = load_file(weights), load_file(joined)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert split_weights(joined, tmp_path / "again", 10**9)[0].read_bytes() == joined.read_bytes()


def test_damage_is_found(weights: Path, tmp_path: Path) -> None:
    *shards, index = split_weights(weights, tmp_path / "shards", 1_000_000)
    with pytest.raises(WeightsError, match=r"layer0.weight alone has 400000 bytes, a shard 300000"):
        split_weights(weights, tmp_path / "small", 300_000)
    other = load_file(shards[1])
    save_file({name: tensor + 1 for name, tensor in other.items()}, shards[1])
    with pytest.raises(WeightsError, match=r"the joined shards are not what it says"):
        join_weights(index, tmp_path / "joined.safetensors")
    shards[1].unlink()
    with pytest.raises(WeightsError, match=r"net-00002-of-00003.safetensors: cannot be read"):
        join_weights(index, tmp_path / "joined.safetensors")
    assert not (tmp_path / "joined.safetensors").exists()
