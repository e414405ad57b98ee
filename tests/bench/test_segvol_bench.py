"""The benchmark of encoding once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from lexor.bench.segvol import BASELINE, BOXES, SHAPE, InFloat32, bench_case, bench_segvol
from lexor.cli import app
from lexor.models import factory
from lexor.models.encoders.vit import ViT
from lexor.models.factory import Architecture
from lexor.models.segmenter import Encoding
from lexor.models.segvol.network import SegVolSegmenter

WINDOW = (8, 32, 32)
encoded: list[int] = []


class Counting(SegVolSegmenter):
    def encode(self, image: Tensor) -> Encoding:
        encoded.append(len(image))
        return super().encode(image)


def build_counting() -> SegVolSegmenter:
    model = Counting(ViT(1, width=16, depth=1, heads=2, window=WINDOW), WINDOW, heads=2, hidden=8)
    model.zoom_gain = 1e9  # as SegVol's own window does here, see the volume in one look
    return model


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Architecture(__name__, "build_counting", {}, "counting.safetensors")
    monkeypatch.setattr(factory, "ARCHITECTURES", {"counting": entry})
    encoded.clear()


def test_the_case_has_the_issues_size_and_is_the_same_every_time() -> None:
    case = bench_case()
    assert case.volume.shape == SHAPE == (30, 101, 122)
    assert len(case.boxes) == BOXES == 6
    assert (case.volume == bench_case().volume).all()


def test_the_baseline_encodes_once_per_class_and_the_others_once() -> None:
    ways = []
    for timing in bench_segvol("counting", device="cpu"):
        ways.append((timing.way, sum(encoded)))
        encoded.clear()
        assert timing.seconds > 0
    # One more for the pass that warms up.
    assert ways == [(BASELINE, 7), ("encode once, float32", 1), ("encode once, as predicted here", 1)]


def test_float32_is_kept_under_autocast() -> None:
    model = InFloat32(build_counting())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        (features,) = model.encode(torch.randn(1, 1, *WINDOW)).features
    assert features.dtype == torch.float32


def test_the_command_prints_ratios_to_the_baseline() -> None:
    result = CliRunner().invoke(app, ["bench", "segvol", "--model", "counting", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    first, baseline, *others = result.output.splitlines()
    assert first.startswith("counting, random weights: 30x101x122 voxels, 6 boxes")
    assert baseline.startswith(BASELINE)
    assert "1.00 times as fast" in baseline
    assert len(others) == 2
    unknown = CliRunner().invoke(app, ["bench", "segvol", "--model", "other", "--device", "cpu"])
    assert unknown.exit_code == 2
    assert "no model 'other'" in unknown.output
