"""A Docker engine and the image built on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import PATIENCE, ROOT, Lexor

docker = pytest.importorskip("docker", reason="no docker SDK: pip install '.[test]'")

BASE_OWN = "lexor-test-base"
BASE_REGISTRY = "debian:bookworm-slim"


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The client of a Docker engine; without one the tests are skipped, or failed where CI is set."""
    try:
        client = docker.from_env(timeout=PATIENCE)
        client.ping()
    except docker.errors.DockerException as problem:
        message = f"no Docker engine answers ({problem}); start one: tests/container/engine.sh up"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    yield client
    client.close()


@pytest.fixture(scope="session")
def lexor(engine: Any) -> Lexor:
    """The image `LEXOR_TEST_IMAGE` names, else one built from the checkout, for the CPU.

    The base is the one that `engine.sh base` makes where there is one, else a registry's.
    """
    named = os.environ.get("LEXOR_TEST_IMAGE")
    if named:
        return Lexor(engine, engine.images.get(named))
    base = BASE_OWN if engine.images.list(BASE_OWN) else BASE_REGISTRY
    try:
        image, _ = engine.images.build(
            path=str(ROOT),
            tag="lexor-test:latest",
            buildargs={"BASE_IMAGE": base, "CUDA": "cpu"},
            network_mode="host",
            rm=True,
        )
    except docker.errors.BuildError as problem:
        log = "".join(line.get("stream", "") for line in problem.build_log)
        pytest.fail(f"{problem}\n{log[-4000:]}")
    return Lexor(engine, image)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """An empty folder of cases that any uid may read."""
    folder = tmp_path / "inputs"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """An empty folder that any uid may write to, as the organisers make it."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    folder.chmod(0o777)
    return folder
