"""What the image is made of."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from harness import ROOT, Lexor, write_balls
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.container

# Name and version of a lock's lines, but for Windows'.
PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+) (?!; sys_platform == 'win32')", re.MULTILINE)


def test_runs_the_organisers_command_in_the_workspace(lexor: Lexor) -> None:
    config = lexor.image.attrs["Config"]
    assert not config["Entrypoint"], "an entry point would swallow the organisers' command"
    assert config["Cmd"] == ["sh", "predict.sh"]
    assert config["WorkingDir"] == "/workspace"


def test_labels_agree_with_the_project(lexor: Lexor) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = lexor.image.labels
    assert labels["org.opencontainers.image.title"] == "Lexor"
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]


def test_asks_the_runtime_for_compute_on_any_driver(lexor: Lexor) -> None:
    environment = lexor.image.attrs["Config"]["Env"]
    assert "NVIDIA_VISIBLE_DEVICES=all" in environment
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in environment
    assert "NVIDIA_DISABLE_REQUIRE=1" in environment


def test_holds_package_weights_and_script(lexor: Lexor) -> None:
    present = lexor.shell("ls -1 /workspace; ls -1 /workspace/weights").split()
    assert {"app", "weights", "predict.sh", "inputs", "outputs", "manifest.json"} <= set(present)
    assert any(name.endswith(".safetensors") for name in present)


def test_has_no_compilers_and_no_caches(lexor: Lexor) -> None:
    tools = lexor.shell("for tool in cc gcc g++ clang ld make nvcc pip; do command -v $tool; done; true")
    assert tools == ""
    leftovers = lexor.shell(
        "find /tmp /root/.cache /var/lib/apt/lists /var/cache/apt -type f 2>/dev/null; "
        "find /workspace -name '*.whl'; true"
    )
    assert leftovers == ""


def test_every_module_that_a_case_loads_is_compiled(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "CT_balls.npz")
    script = "PYTHONVERBOSE=1 lexor predict inputs outputs 2>&1 | grep -c 'code object from /' || true"
    run = lexor.run(inputs, outputs, command=["/bin/bash", "-c", script])
    assert run.out.split() == ["0"]


def test_nothing_that_links_or_tests_is_left(lexor: Lexor) -> None:
    packages = "/workspace/.venv/lib/python3*/site-packages"
    assert lexor.shell(f"find {packages} -name '*.a' -o -type d -name tests") == ""


def test_packages_are_those_of_the_lock(lexor: Lexor) -> None:
    cuda = lexor.image.labels["lexor.cuda"]
    script = (
        'python -c "import json; from importlib.metadata import distributions; '
        'print(json.dumps({d.name: d.version for d in distributions()}))"'
    )
    installed = {
        canonicalize_name(name): version for name, version in json.loads(lexor.shell(script)).items()
    }
    pins = dict(PIN.findall((ROOT / "requirements" / f"{cuda}.txt").read_text()))
    # torch.compile's compiler is left out.
    pins.pop("triton", None)
    torch = (ROOT / "requirements" / "torch.txt").read_text().strip().removeprefix("torch==")
    pins["torch"] = torch if cuda == "cu130" else f"{torch}+{cuda}"
    pins["lexor"] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installed == pins


def test_torch_is_of_the_cuda_the_label_names(lexor: Lexor) -> None:
    cuda = lexor.image.labels["lexor.cuda"]
    built = lexor.shell("python -c 'import torch; print(torch.version.cuda)'").strip()
    assert built == {"cpu": "None", "cu126": "12.6", "cu130": "13.0"}[cuda]
