import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from lexor.case import Case, write_case
from lexor.models.factory import create_model
from lexor.models.segmenter import Masks
from lexor.training.loop import loss_of


def test_the_loss_prefers_the_truth() -> None:
    target = torch.zeros(2, 1, 4, 8, 8)
    target[:, :, 1:3, 2:6, 2:6] = 1
    right, score = loss_of(Masks(target * 12 - 6, torch.full((2,), 6.0)), target)
    wrong, bad = loss_of(Masks(6 - target * 12, torch.full((2,), 6.0)), target)
    assert float(right) < 0.1 < 1 < float(wrong)
    torch.testing.assert_close(score, torch.ones(2))
    assert float(bad.max()) < 0.05
    unsure, _ = loss_of(Masks(target * 12 - 6, torch.full((2,), -6.0)), target)
    assert float(unsure) > float(right), "a right answer that says it is bad costs more"


def test_a_short_run_leaves_weights_that_load_and_resumes(tmp_path: Path, ball_case: Case) -> None:
    z, y, x = np.ogrid[:24, :48, :48]
    truth = ((z - 12) / 7) ** 2 + ((y - 22) / 9) ** 2 + ((x - 25) / 9) ** 2 <= 1
    (tmp_path / "data").mkdir()
    write_case(tmp_path / "data" / "CT_ball.npz", ball_case, labels=truth.astype(np.uint8))
    command = [sys.executable, "-m", "lexor.training.loop", str(tmp_path / "data"), str(tmp_path / "run")]
    options = ["--processes", "2", "--scenes", "2", "--minutes"]
    subprocess.run([*command, *options, "0.1"], check=True, capture_output=True)
    first = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert first["step"] > 0
    create_model("mobilenet3d", weights=tmp_path / "run" / "average.safetensors")
    subprocess.run([*command, *options, "0.2"], check=True, capture_output=True)
    second = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert second["step"] > first["step"]
    assert second["seconds"] > first["seconds"]
