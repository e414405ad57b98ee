"""Scores of a few small cases as they were, for `test_recorded_scores`: a change that moves them is seen.

    make record     # or: python tests/regression/recorded.py

scores the cases anew, says what changed, and writes scores.json. Without ../shared/data the real cases keep what is
recorded of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import torch
from phantoms import PHANTOMS, write_phantom

from lexor.evaluation.evaluate import Settings, evaluate_cases
from lexor.evaluation.results import CaseResult, Record
from lexor.evaluation.tables import markdown
from lexor.inference import runner
from lexor.inference.predictor import Predictor

SCORES = Path(__file__).with_name("scores.json")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

BOXES = Settings()
# The search by clicks alone takes most of the time: three rounds, and few labels.
ALONE = Settings(clicks=3, boxes=False)
AUTOMATIC = Settings(clicks=0, boxes=False, prompt="auto")

Scored = dict[str, float]
CASES: dict[str, tuple[Settings, ...]] = {
    "CT_lesion": (BOXES,),
    "PET_spots": (BOXES, ALONE, AUTOMATIC),
    "MR_tube": (BOXES,),
    "CT_openkbp_pt_203": (BOXES,),
    "MR_deepreg_prostateT2_case000002": (BOXES,),
    "MR_msd_hippocampus_331": (ALONE,),
    "MR_msd_hippocampus_355": (BOXES,),
    "MR_sct_mt1_cord": (BOXES, AUTOMATIC),
    "PET_ibsi_STS040": (BOXES, ALONE, AUTOMATIC),
    "US_deepreg_prostateTRUS_case000015": (BOXES, AUTOMATIC),
}


@contextmanager
def reproducible() -> Iterator[None]:
    """One thread and float32: sums in another order, and bfloat16, move scores a little, and then clicks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.object(runner, "low_precision", return_value=None):
            yield
    finally:
        torch.set_num_threads(threads)


def case_path(name: str, folder: Path) -> Path:
    """The file of one of `CASES`; a synthetic one is written into the folder."""
    return write_phantom(name, folder) if name in PHANTOMS else SHARED / "val" / f"{name}.npz"


def score(path: Path, predictor: Predictor) -> Scored:
    """DSC by run of one of `CASES`, rounded to four places: means over labels, automatic: best-matching label.

    Raises:
        AssertionError: it cannot be scored.
    """
    found: Scored = {}
    with reproducible():
        for settings in CASES[path.stem]:
            [result] = evaluate_cases([path], predictor, settings, Record(None, {}))
            assert isinstance(result, CaseResult), result.summary()
            if result.box_run is not None:
                found["box"] = result.box_run.scores.dsc
            start = "box" if settings.boxes else "alone"
            for number, run in enumerate(result.click_runs, start=1):
                if number % 2:
                    found[f"{start}, {number} click{'s' if number > 1 else ''}"] = run.scores.dsc
            if result.automatic is not None:
                found["automatic"] = result.automatic.best_dsc
    return {run: round(dsc, 4) for run, dsc in found.items()}


def read_scores() -> dict[str, Scored]:
    """What is recorded, by case and run."""
    scores: dict[str, Scored] = json.loads(SCORES.read_text(encoding="utf-8"))
    return scores


def changes(name: str, old: Scored, new: Scored, tolerance: float) -> list[list[str]]:
    """Cells of case, run, old and new score; a line for each that differs by more than a tolerance, new or gone."""
    return [
        [name, run, *(f"{scores[run]:.4f}" if run in scores else "-" for scores in (old, new))]
        for run in dict.fromkeys([*old, *new])
        if run not in old or run not in new or abs(old[run] - new[run]) > tolerance
    ]


def main() -> None:
    """Scores all cases, prints what changed, and writes the record."""
    old = read_scores() if SCORES.exists() else {}
    new: dict[str, Scored] = {}
    changed = []
    predictor = Predictor(device="cpu")
    with TemporaryDirectory() as folder:
        for name in CASES:
            if name in PHANTOMS or SHARED.is_dir():
                new[name] = score(case_path(name, Path(folder)), predictor)
                changed += changes(name, old.get(name, {}), new[name], 0.0)
            elif name in old:
                new[name] = old[name]
    for name in sorted(old.keys() - new.keys()):
        changed += changes(name, old[name], {}, 0.0)
    print(markdown(["case", "run", "recorded", "now"], changed) if changed else "nothing changed")
    SCORES.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
