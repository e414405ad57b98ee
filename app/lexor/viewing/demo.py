"""The demo: three real cases that come with Lexor, segmented from their boxes and from no prompt at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lexor.inference.outcome import Outcome
from lexor.io.case import read_labels
from lexor.viewing.preview import Panel, draw_panels

CASES = Path(__file__).with_name("cases")


def copy_cases(folder: Path) -> list[Path]:
    """Copies the cases and their licences to a folder; the cases, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(CASES.iterdir()):
        shutil.copyfile(file, folder / file.name)
    return sorted(folder / file.name for file in CASES.glob("*.npz"))


def draw_demo(given: Sequence[Outcome], automatic: Sequence[Outcome], path: Path) -> Path:
    """Each case in a row: its boxes, the answer to them, and the answer to no prompt; the truth is outlined.

    Args:
        given: the answers to the cases' boxes.
        automatic: the answers to no prompt, in the same order.
        path: of the PNG.
    """
    rows = []
    for boxed, unprompted in zip(given, automatic, strict=True):
        case, answer, alone = boxed.case, boxed.prediction, unprompted.prediction
        if case is None or answer is None or alone is None:
            continue
        truth = read_labels(boxed.source)
        z = case.boxes[0].z_mid if case.boxes and case.boxes[0] is not None else len(truth) // 2
        found = [target.box for target in alone.targets]
        rows.append(
            [
                Panel(f"{case.name}: its boxes", case.volume[z], boxes=case.boxes, z=z),
                Panel("answer to the boxes", case.volume[z], answer.labels[z], truth[z], z=z),
                Panel("answer to no prompt", case.volume[z], alone.labels[z], truth[z], found, z),
            ]
        )
    return draw_panels(rows, path)
