"""What models cost."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from lexor.cli import app
from lexor.models import factory
from lexor.models.encoders.vit import ViT
from lexor.models.factory import Architecture
from lexor.models.measure import measure, measure_models
from lexor.models.segvol.network import SegVolSegmenter

WINDOW = (8, 32, 48)


def build_tiny() -> SegVolSegmenter:
    encoder = ViT(1, width=32, depth=2, heads=2, window=WINDOW)
    return SegVolSegmenter(encoder, WINDOW, heads=2, hidden=32)


def test_operations_of_the_encoder_are_counted_exactly() -> None:
    """A multiplication and an addition each: projections, attention and feed-forward of 2 x 2 x 3 tokens."""
    torch.manual_seed(0)
    model = build_tiny().eval()
    tokens, width = 2 * 2 * 3, 32
    patches = 2 * tokens * (4 * 16 * 16) * width
    block = 2 * tokens * width * width * (3 + 1 + 4 + 4) + 2 * 2 * tokens * tokens * width
    deep = measure(model, "tiny", repeats=1)
    model.image_encoder.blocks = torch.nn.ModuleList()
    shallow = measure(model, "tiny", repeats=1)
    assert (deep.gflops - shallow.gflops) * 1e9 == pytest.approx(2 * block)
    assert shallow.gflops * 1e9 > patches
    assert deep.window == WINDOW
    assert deep.seconds["float32"] > 0
    assert deep.seconds.keys() == deep.cpu_seconds.keys()


def test_the_table_shows_the_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        factory, "ARCHITECTURES", {"tiny": Architecture(__name__, "build_tiny", {}, "tiny.safetensors")}
    )
    (measured,) = measure_models()
    result = CliRunner().invoke(app, ["models", "--measure", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for text in ("8x32x48", f"{measured.gflops:.3g}", "s, float32", "CPU s, float32", "GFLOPs", "encoder"):
        assert text in result.output
    assert "GFLOPs" not in CliRunner().invoke(app, ["models"]).output
