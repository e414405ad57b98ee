"""The score on sources that training has not seen: train without them in turn, score on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexor.evaluation.boxes import MODEL, Row, evaluate_boxes
from lexor.evaluation.tables import modality_means
from lexor.inference.predictor import Predictor
from lexor.training.config import BudgetConfig, TrainingConfig, TrainingError
from lexor.training.loop import train
from lexor.training.state import AVERAGE
from lexor.training.subjects import list_files, source_of


@dataclass(frozen=True)
class LeftOut:
    """One length of one turn.

    Attributes:
        sources: that were left out.
        steps, minutes: of training, so far.
        rows: the scores of every label of theirs.
    """

    sources: tuple[str, ...]
    steps: int
    minutes: float
    rows: list[Row]

    @property
    def score(self) -> float:
        """Mean DSC over the labels of each modality, and over modalities."""
        return modality_means(self.rows)[MODEL]["macro"]


def leave_out_scores(
    config: TrainingConfig,
    out: Path,
    turns: Sequence[Sequence[str]],
    budgets: Sequence[BudgetConfig] = (),
    *,
    device: str = "auto",
    seed: int = 7,
) -> Iterator[LeftOut]:
    """Trains once a turn, in OUT/SOURCES, and scores the averaged weights on what was left out: the score that tells
    when to stop, for more training on the same sources raises theirs in any case.

    Args:
        config: of every run; its data must be folders. A run already there goes on, or is only scored.
        out: folder of the runs.
        turns: sources to leave out together, such as those of one scanner or patient group.
        budgets: lengths, rising, in place of the configuration's: a turn goes on from one to the next for as long
            as its score rises. What a run gains from the next length includes its schedule's new start.
        device: as `train` takes it.
        seed: of the boxes' loosening.

    Raises:
        TrainingError: as `train`; or a turn whose sources have no file in the folders.
    """
    files = [file for path in config.data.paths for file in list_files(path)]
    for sources in turns:
        left = [file for file in files if source_of(file.stem) in sources]
        if not left:
            raise TrainingError(
                f"data.paths: no case of {', '.join(sources)}; give its folder, not a packed file"
            )
        data = config.data.model_copy(update={"leave_out": (*config.data.leave_out, *sources)})
        folder = out / "+".join(sources)
        best = -1.0
        for budget in budgets or (config.budget,):
            run = config.model_copy(update={"data": data, "budget": budget})
            state = train(run, folder, resume=True, device=device)
            predictor = Predictor(config.model.name, device=device, weights=folder / AVERAGE)
            rows = [row for case in evaluate_boxes(left, predictor, seed) for row in case.rows]
            found = LeftOut(tuple(sources), state.step, state.seconds / 60, rows)
            yield found
            score = found.score
            if score <= best:
                break
            best = score
