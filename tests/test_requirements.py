"""That the locks hold what pyproject.toml asks for, agree with each other, and are of one CUDA each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
LOCKS = ["cpu", "cu126", "cu130", "test"]
# Of the extras of pyproject.toml, what each lock was made for.
EXTRAS = {"cpu": {"serve"}, "cu126": {"serve", "gpu-cuda12"}, "cu130": {"serve", "gpu"}, "test": {"test"}}


def _pins(lock: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes by name."""
    pins: dict[str, tuple[str, int]] = {}
    lines = (FOLDER / f"{lock}.txt").read_text().replace("\\\n", " ").splitlines()
    for line in (line for line in lines if line and not line.startswith("#")):
        requirement, *hashes = re.split(r"\s--hash=sha256:", line)
        parsed = Requirement(requirement)
        (pin,) = parsed.specifier
        assert pin.operator == "=="
        pins[canonicalize_name(parsed.name)] = (pin.version, len(hashes))
    return pins


def _asked(extras: set[str]) -> list[Requirement]:
    """What the project asks for, with extras; those that they refer to are followed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(item) for item in project["dependencies"]]
    wanted = set(extras)
    while wanted:
        for item in map(Requirement, project["optional-dependencies"][wanted.pop()]):
            if item.name == "lexor":
                wanted |= item.extras
            else:
                asked.append(item)
    return asked


def _torch() -> str:
    """The one version of torch that tests and images use."""
    name, version = (FOLDER / "torch.txt").read_text().strip().split("==")
    assert name == "torch"
    return version


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_is_asked_for(lock: str) -> None:
    pins = _pins(lock)
    for item in _asked(EXTRAS[lock]):
        version = _torch() if item.name == "torch" else pins[canonicalize_name(item.name)][0]
        assert item.specifier.contains(version), f"{item} is locked as {version}; run: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    assert [name for name, (_, hashes) in _pins(lock).items() if hashes == 0] == []


@pytest.mark.parametrize("lock", ["cu126", "cu130", "test"])
def test_what_prediction_needs_is_the_same_everywhere(lock: str) -> None:
    common = _pins("cpu")
    assert {name: pin for name, pin in _pins(lock).items() if name in common} == common


def test_only_the_lock_for_pypis_torch_has_torch() -> None:
    assert {lock: _pins(lock).get("torch", ("none", 0))[0] for lock in LOCKS} == {
        "cpu": "none",
        "cu126": "none",
        "cu130": _torch(),
        "test": "none",
    }


@pytest.mark.parametrize("lock", ["cpu", "test"])
def test_a_machine_without_a_gpu_is_spared_cuda(lock: str) -> None:
    assert [
        name for name in _pins(lock) if name.startswith(("nvidia", "cuda", "cupy", "cucim", "triton"))
    ] == []


@pytest.mark.parametrize(("lock", "version", "foreign"), [("cu126", "12.6.", "3"), ("cu130", "13.0.", "2")])
def test_a_lock_is_of_one_cuda(lock: str, version: str, foreign: str) -> None:
    pins = _pins(lock)
    assert pins["cuda-toolkit"][0].startswith(version)
    assert [name for name in pins if re.search(rf"-(cu|cuda)1{foreign}x?$", name)] == []


def test_the_lock_for_cuda_12_holds_what_its_torch_asks_for() -> None:
    lines = (FOLDER / "cu126.in").read_text().splitlines()
    pins = _pins("cu126")
    for item in map(Requirement, lines[1:]):
        assert item.specifier.contains(pins[item.name][0])


def test_the_image_is_built_on_its_own_cuda() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG CUDA=cu130$", text, re.MULTILINE)
    assert re.search(r"^ARG BASE_IMAGE=nvidia/cuda:13\.0\.\d+-base-", text, re.MULTILINE)
