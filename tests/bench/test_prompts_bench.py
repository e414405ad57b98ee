"""`lexor bench prompts`: the figures it takes, and what it says of different boxes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.bench import memory, prompting, textbook
from lexor.bench.phantoms import body
from lexor.cli import app
from lexor.geometry import Box
from lexor.io.case import Case, write_case

VOLUME = body((12, 40, 44))


@pytest.fixture(scope="module")
def comparison() -> prompting.Comparison:
    return prompting.compare("a body", VOLUME, repeats=2, with_memory=False)


def test_both_pipelines_run_stage_by_stage(comparison: prompting.Comparison) -> None:
    assert list(comparison.best.stages) == list(prompting.STAGES)
    assert list(comparison.textbook.stages) == list(prompting.STAGES[1:])
    for timing in (comparison.textbook, comparison.first, comparison.best):
        assert sum(timing.stages.values()) == pytest.approx(timing.seconds, abs=0.05)
        assert timing.boxes == textbook.find_boxes(VOLUME).boxes
    assert comparison.best.seconds <= comparison.first.seconds
    assert comparison.same


def test_the_table_gives_ratios_and_the_verdict(comparison: prompting.Comparison) -> None:
    stages = dict.fromkeys(prompting.STAGES[1:], 1.0)
    slow = prompting.Timing(stages, 5.0, 5.0, comparison.best.boxes)
    fast = prompting.Timing(dict.fromkeys(prompting.STAGES, 0.25), 0.5, 1.0, comparison.best.boxes)
    fixed = prompting.Comparison("a body", (12, 40, 44), slow, fast, fast, 17.0, 6.5)
    lines = [" ".join(line.split()) for line in prompting.describe(fixed).splitlines()]
    assert lines[0] == "a body, 12x40x44"
    assert "mask 1.000 0.250 4.0x" in lines
    assert "all 5.000 0.500 10.0x" in lines
    assert "all, sum over cores 5.000 1.000 5.0x" in lines
    assert lines[-2].endswith("textbook 17.00, 13.00; lexor 6.50, 2.50")
    assert lines[-1] == "boxes: the same"
    other = dataclasses.replace(fast, boxes=[Box.whole((12, 40, 44))])
    assert "DIFFERENT" in prompting.describe(dataclasses.replace(fixed, best=other))
    assert "lexor not measured" in prompting.describe(dataclasses.replace(fixed, peak=None))


def test_the_command_takes_a_case_and_fails_on_another_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "CT_body.npz"
    write_case(path, Case("CT_body", VOLUME, (1.0, 1.0, 1.0), (), (), None, ()))
    arguments = ["bench", "prompts", str(path), "--repeats", "1", "--no-memory"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "CT_body.npz, 12x40x44" in result.output
    assert "boxes: the same" in result.output
    wrong = textbook.Answer([Box.whole((12, 40, 44))], [])
    monkeypatch.setattr(textbook, "find_boxes", lambda *_: wrong)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "not every box is the textbook's" in result.output


def test_the_command_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "prompts", str(tmp_path / "none.npz")])
    assert result.exit_code == 2
    assert "none.npz" in result.output


def _fill(size: int) -> int:
    return int(np.ones(size, dtype=np.uint8).sum())


def test_the_peak_of_a_call_is_what_it_allocates() -> None:
    peak = memory.peak_bytes(_fill, 64 << 20)
    if peak is None:
        pytest.skip("the kernel does not tell a process its peak memory")
    assert peak == pytest.approx(64 << 20, rel=0.1)


def test_the_prompt_needs_less_than_three_bytes_a_voxel_beyond_the_smoothed_volume() -> None:
    volume = body((64, 256, 256))
    peak = memory.peak_bytes(prompting.lexor_boxes, volume, 1, textbook.PAPER, "cpu")
    if peak is None:
        pytest.skip("the kernel does not tell a process its peak memory")
    assert prompting.SMOOTHED_BYTES - 1 < peak / volume.size < prompting.SMOOTHED_BYTES + 3


def test_a_body_is_the_same_each_time_and_has_air_tissue_and_organs() -> None:
    np.testing.assert_array_equal(body((12, 40, 44)), VOLUME)
    assert VOLUME.dtype == np.uint8
    assert (body((12, 40, 44), seed=1) != VOLUME).any()
    assert VOLUME[:, 0].mean() < 15
    assert len(textbook.find_boxes(VOLUME).sizes) > 0
