"""That what the Dockerfile installs for the GPU can be installed together, and is of one CUDA version."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from harness import ROOT

pytestmark = pytest.mark.container

# What torch 2.13.0+cu126 asks for. Its wheel is on PyTorch's own index, and too large to ask it here.
TORCH_ASKS = [
    "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==12.6.3",
    "nvidia-cudnn-cu12==9.10.2.21",
    "nvidia-cusparselt-cu12==0.7.1",
]
PLATFORMS = ["2014", "_2_17", "_2_24", "_2_27", "_2_28"]


@pytest.fixture(scope="module")
def project() -> dict[str, list[str]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"base": table["dependencies"], **table["optional-dependencies"]}


def _argument(name: str) -> str:
    found = re.search(rf"^ARG {name}=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found, name
    return found[1]


def test_base_image_and_wheels_name_one_cuda(project: dict[str, list[str]]) -> None:
    cuda = _argument("CUDA")
    version = f"{cuda[2:4]}.{cuda[4:]}"
    assert _argument("BASE_IMAGE").startswith(f"nvidia/cuda:{version}.")
    assert f"cuda-toolkit=={version}.*" in [item.split(";")[0].strip() for item in project["gpu"]]
    torch = next(item for item in project["base"] if item.startswith("torch=="))
    assert f'"{torch}+${{CUDA}}"' in (ROOT / "Dockerfile").read_text()


def test_everything_for_the_gpu_resolves_to_one_cuda(project: dict[str, list[str]], tmp_path: Path) -> None:
    wanted = [item for item in project["base"] if not item.startswith("torch==")]
    platforms = [f"--platform=manylinux{tag}_x86_64" for tag in PLATFORMS]
    # Ubuntu 24.04's Python. Metadata alone is fetched: half a minute, no wheels.
    wanted += [*TORCH_ASKS, *project["gpu"]]
    options = ["--dry-run", "--ignore-installed", "--quiet", "--python-version=3.12", "--only-binary=:all:"]
    resolved = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            *options,
            *platforms,
            f"--target={tmp_path}",
            "--report=-",
            *wanted,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "NewConnectionError" in resolved.stderr and not os.environ.get("CI"):
        pytest.skip("no package index in reach")
    assert resolved.returncode == 0, resolved.stderr
    found = {
        item["metadata"]["name"].lower(): item["metadata"]["version"]
        for item in json.loads(resolved.stdout)["install"]
    }
    assert found["cuda-toolkit"].startswith("12.6.")
    assert found["nvidia-cuda-runtime-cu12"].startswith("12.6.")
    assert found["nvidia-cuda-nvrtc-cu12"].startswith("12.6.")
    assert {"cupy-cuda12x", "cucim-cu12"} <= set(found)
    assert [name for name in found if re.search(r"-cu(11|13)$|-cuda1[13]x$", name)] == []
