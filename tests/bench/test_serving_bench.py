"""The server's benchmark: a person's work through the real client; the network it is compared with."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lexor.bench.phantoms import ORGANS, body, organs
from lexor.bench.resenc import ResidualEncoderUNet
from lexor.bench.serving import Waits, bench_server
from lexor.cli import app

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.slow
def test_a_person_s_work_is_timed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waits = bench_server((24, 64, 64), objects=1, clicks=False, device="cpu")
    counts = {what: len(seconds) for what, seconds in waits.seconds.items()}
    assert counts == {
        "upload until ready": 1,
        "box": 1,
        "click after a box": 2,
        "undo": 1,
    }
    assert all(0 < second < 60 for seconds in waits.seconds.values() for second in seconds)
    assert waits.peak_bytes is not None
    assert 1e8 < waits.peak_bytes < 4e9


def test_figures_are_told_in_lines() -> None:
    waits = Waits((1, 2, 3), {"box": [1.0, 2.0, 3.0], "undo": [0.5]}, 1_500_000_000)
    assert [line.split() for line in waits.lines()] == [
        ["box", "2.00", "s", "median", "2.90", "s", "p95", "3", "times"],
        ["undo", "0.50", "s"],
        ["peak", "memory", "of", "the", "server", "1.50", "GB"],
    ]


def test_the_compared_network_is_as_published() -> None:
    with torch.device("meta"):
        network = ResidualEncoderUNet()
    # "ResEnc L" of nnU-Net's documentation has 102 million parameters.
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(102.35e6, rel=1e-3)


def test_the_compared_network_answers_each_voxel() -> None:
    torch.manual_seed(0)
    network = ResidualEncoderUNet(2, (4, 6, 8), (1, 2, 1)).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 2, 8, 16, 32)).shape == (1, 2, 8, 16, 32)


def test_organs_are_where_the_body_has_them() -> None:
    volume, labels = body((40, 64, 64), 3), organs((40, 64, 64), 3)
    assert 0 < labels.max() <= ORGANS
    for label in range(ORGANS - 3, ORGANS + 1):
        inside = volume[labels == label].astype(float)
        assert inside.std() < 12
        assert np.abs(inside.mean() - np.array([15, 60, 90, 130, 160, 190, 250])).min() < 5


def test_another_shape_or_dtype_is_refused() -> None:
    for options, remedy in (
        (["--shape", "1x2"], "give slices x rows x columns"),
        (["--shape", "0x9x9"], "give slices x rows x columns"),
        (["--dtype", "complex64"], "give uint8, int16 or float32"),
    ):
        result = CliRunner().invoke(app, ["bench", "serve", *options])
        assert result.exit_code == 2
        assert remedy in result.output
