from pathlib import Path

import numpy as np
import pytest

from lexor.case import Box, Case, write_case
from lexor.training.config import TrainingError, load_config
from lexor.training.leave_out import leave_out_scores


def test_every_turn_scores_what_it_did_not_see(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    labels = (sum((g - 12 + 4 * (a == 0)) ** 2 for a, g in enumerate(np.indices((16, 32, 32)))) <= 25).astype(
        np.uint8
    )
    box = Box((3, 7, 7), (14, 18, 18), 8)
    for name in ("CT_alpha_0", "CT_beta_0", "MR_gamma_0"):
        case = Case(name, 60 + 100 * labels, (2.0, 1.0, 1.0), (box,))
        write_case(data / f"{name}.npz", case, labels=labels)
    config = load_config(
        "smoke",
        {
            "model.window": [8, 16, 16],
            "data.paths": [data],
            "mix.real": 1,
            "budget.minutes": None,
            "budget.steps": 1,
        },
    )
    turns = [["CT_alpha"], ["CT_beta", "MR_gamma"]]
    found = list(leave_out_scores(config, tmp_path / "runs", turns, device="cpu"))
    assert [turn.sources for turn in found] == [("CT_alpha",), ("CT_beta", "MR_gamma")]
    assert [[row.case for row in turn.rows] for turn in found] == [
        ["CT_alpha_0"],
        ["CT_beta_0", "MR_gamma_0"],
    ]
    assert all(row.scores["Lexor"] > 0.5 for turn in found for row in turn.rows), "the shape prior alone"
    used = load_config(tmp_path / "runs" / "CT_beta+MR_gamma" / "config.yaml")
    assert used.data.leave_out == ("CT_beta", "MR_gamma")
    with pytest.raises(TrainingError, match=r"data.paths: no case of CT_delta"):
        list(leave_out_scores(config, tmp_path / "runs", [["CT_delta"]], device="cpu"))
