"""`lexor bench gpu`, rehearsed on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lexor.bench import gpu, naive, prompt_check, textbook
from lexor.bench.cases import Sizes
from lexor.bench.phantoms import body
from lexor.bench.report import describe, read_report
from lexor.cli import app
from lexor.geometry import Box
from lexor.io.case import Case, write_case


def test_the_naive_pipeline_finds_the_textbooks_box() -> None:
    for seed in range(3):
        volume = body((16, 50, 40), seed)
        (expected,) = textbook.find_boxes(volume).boxes
        assert naive.find_box(volume, textbook.PAPER, "cpu") == expected
    assert naive.find_box(volume * 0, textbook.PAPER, "cpu") is None


def test_a_box_that_is_not_the_textbooks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for depth in (10, 8):
        files.append(tmp_path / f"CT_{depth}.npz")
        write_case(files[-1], Case(files[-1].stem, body((depth, 40, 40)), (1.0, 1.0, 1.0)))
    found = prompt_check.same_boxes(files, "cpu", 60)
    assert (found["volumes"], found["voxels"], found["different"]) == (2, 18 * 1600, [])
    assert prompt_check.same_boxes(files, "cpu", -1)["volumes"] == 0
    wrong = [Box.whole((1, 2, 3))]
    monkeypatch.setattr(prompt_check, "lexor_boxes", lambda *_: wrong)
    assert prompt_check.same_boxes(files, "cpu", 60)["different"] == ["CT_8.npz on cpu", "CT_10.npz on cpu"]


def test_a_step_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(check: gpu.Check) -> dict[str, Any]:
        raise MemoryError("Out of memory allocating 1,024 bytes")

    for name in ("exact", "cases", "training", "tests"):
        monkeypatch.setattr(gpu, f"_{name}", lambda check: {"figure": 0.25})
    monkeypatch.setattr(gpu, "_prompts", fail)
    told: list[str] = []
    found = gpu.gpu_check(gpu.Check(device="cpu"), tmp_path / "out.json", told.append)
    assert not found["ok"]
    assert found["steps"]["prompts"]["error"] == "MemoryError: Out of memory allocating 1,024 bytes"
    assert [step.get("error") for step in found["steps"].values()].count(None) == 4
    assert len(told) == 5
    assert read_report(tmp_path / "out.json")["steps"].keys() == found["steps"].keys()
    text = describe(found)
    assert "prompts (0.0 s): FAILED: MemoryError: Out of memory" in text
    assert "  figure: 0.25" in text
    assert text.endswith("NOT all is well")


def test_without_a_gpu_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = CliRunner().invoke(app, ["bench", "gpu", str(tmp_path / "out.json")])
    assert result.exit_code == 2
    assert "torch sees no GPU here" in result.output


@pytest.mark.slow
def test_a_rehearsal_takes_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "CT_body.npz", Case("CT_body", body((8, 32, 32)), (1.0, 1.0, 1.0)))
    monkeypatch.setattr("lexor.viewing.demo.CASES", tmp_path)
    (tmp_path / "test_one.py").write_text(
        "import pytest\n\n\n@pytest.mark.gpu\ndef test_one(): pass\n\n\ndef test_other(): assert False\n"
    )
    monkeypatch.setattr(gpu, "RECIPE", "smoke")
    monkeypatch.setattr(gpu, "SCENES", {"mix.scenes": 1, "mix.initial": 1, "batch": 1, "budget.steps": 2})
    check = gpu.Check(
        device="cpu",
        tests=tmp_path,
        shapes=((8, 32, 32),),
        sizes=Sizes((8, 32, 32), (8, 32, 32), 1, 1, 1),
        kinds=("one",),
        repeats=1,
        isolated=False,
    )
    found = gpu.gpu_check(check, tmp_path / "out.json")
    assert found["ok"], describe(found)
    steps = found["steps"]
    assert steps["exact"]["volumes"] == steps["exact"]["at hand"] == 1
    costs = steps["prompts"]["8x32x32"]
    assert costs["naive box is the same"]
    voxels = 8 * 32 * 32
    assert costs["floor of memory traffic"] == pytest.approx(
        23 * voxels / (steps["prompts"]["memory GB/s"] * 1e9)
    )
    assert costs["warm, times the floor"] == pytest.approx(costs["warm"] / costs["floor of memory traffic"])
    assert set(costs["closing"]) == {"of the backend", "of packed bits"}
    assert set(costs["cold"]) == {"no kernels", "kernels in the cache"}
    assert steps["cases"]["rows"][0]["kind"] == "one"
    assert steps["training"]["samples"] == 2
    assert steps["training"]["samples a second"] > 0
    assert steps["tests"]["passed"] == 1
