"""What the image is made of."""

from __future__ import annotations

import json
import tomllib

import pytest
from harness import ROOT, Lexor

pytestmark = pytest.mark.container


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
    assert labels["lexor.minimum-driver"] == "525.60.13"


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


def test_its_own_modules_are_compiled(lexor: Lexor) -> None:
    counts = lexor.shell(
        "find /workspace/app -name '*.py' | wc -l; find /workspace/app -name '*.pyc' | wc -l"
    ).split()
    assert counts[0] == counts[1] != "0"


def test_torch_is_of_the_cuda_the_label_names(lexor: Lexor) -> None:
    script = (
        'python -c "import json, torch; from importlib.metadata import distributions; '
        'print(json.dumps([torch.__version__, sorted({d.name for d in distributions()})]))"'
    )
    version, names = json.loads(lexor.shell(script))
    cuda = lexor.image.labels["lexor.cuda"]
    assert version == f"2.13.0+{cuda}"
    wrong = [name for name in names if name.endswith(("-cu11", "-cu13", "-cuda11x", "-cuda13x"))]
    assert wrong == []
