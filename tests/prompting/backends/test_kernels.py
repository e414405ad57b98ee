"""Kernels that an image brings along."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexor.prompting.backends.kernels import FOLDER, fill_kernel_cache


def test_kernels_are_copied_to_where_cupy_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought, cache = tmp_path / "kernels", tmp_path / "home" / ".cupy" / "kernel_cache"
    brought.mkdir()
    (brought / "a.cubin").write_bytes(b"first")
    (brought / "b.cubin").write_bytes(b"second")
    (brought / "README.md").write_text("no kernel")
    cache.mkdir(parents=True)
    (cache / "b.cubin").write_bytes(b"compiled here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    monkeypatch.delenv(FOLDER, raising=False)
    assert fill_kernel_cache() == 0
    monkeypatch.setenv(FOLDER, str(brought))
    assert fill_kernel_cache() == 1
    assert {file.name: file.read_bytes() for file in cache.iterdir()} == {
        "a.cubin": b"first",
        "b.cubin": b"compiled here",
    }
    assert fill_kernel_cache() == 0


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.cubin").write_bytes(b"kernel")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert fill_kernel_cache() == 0


def test_the_image_brings_the_folder_that_is_read() -> None:
    root = Path(__file__).resolve().parents[3]
    dockerfile = (root / "Dockerfile").read_text()
    assert f"{FOLDER}=/workspace/kernels" in dockerfile
    assert "COPY kernels kernels" in dockerfile
    assert (root / "kernels" / "README.md").is_file()
