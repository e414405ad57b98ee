"""Draws results.png, the picture of README, from labelled volumes: python docs/pictures/draw.py ../shared/data."""

from __future__ import annotations

import sys
from pathlib import Path

from lexor import Predictor, read_case
from lexor.io.case import read_labels
from lexor.viewing.preview import Panel, draw_panels

CASES = (
    "val/CT_ibsi_STS036.npz",
    "val/MR_ibsi_STS036_T1.npz",
    "val/PET_ibsi_STS039.npz",
    "val/US_deepreg_prostateTRUS_case000017.npz",
    "unseen/Microscopy_napari_cells3d-nuclei.npz",
)


def main(data: Path, picture: Path) -> None:
    """A column a case: its boxes, and below them the answer, with the truth outlined."""
    predictor = Predictor()
    given, answered = [], []
    for name in CASES:
        case, truth = read_case(data / name), read_labels(data / name)
        labels = predictor.predict(case)
        box = case.boxes[0]
        assert box is not None
        z = box.z_mid
        given.append(Panel(f"{case.modality}", case.volume[z], boxes=case.boxes, z=z))
        answered.append(Panel("", case.volume[z], labels[z], truth[z], z=z))
    draw_panels([given, answered], picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("results.png"))
