"""The score on sources that training has not seen: train without them in turn, score on them, stop by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexor.evaluation.boxes import MODEL, Row, evaluate_boxes
from lexor.evaluation.tables import modality_means
from lexor.inference.predictor import Predictor
from lexor.models.weights import read_card
from lexor.protocol.sources import source_of
from lexor.training.config import TrainingConfig, TrainingError, load_config, parse_config
from lexor.training.labelled import list_sources
from lexor.training.loop import complete
from lexor.training.means import SHARE, mean_of
from lexor.training.state import AVERAGE, CONFIG, LAST, save_plain

MEAN = "mean.safetensors"


@dataclass(frozen=True)
class LeftOut:
    """What one run of a turn came to.

    Attributes:
        sources: that were left out.
        run: its number in the turn, from 1.
        samples: seen in this run and those before it in the turn.
        minutes: of training, likewise.
        weights: that were scored; the next run starts from them.
        rows: the scores of every label of the sources.
    """

    sources: tuple[str, ...]
    run: int
    samples: int
    minutes: float
    weights: Path
    rows: list[Row]

    @property
    def score(self) -> float:
        """Mean DSC over the labels of each modality, and over modalities."""
        return modality_means(self.rows)[MODEL]["macro"]


def leave_out_scores(
    config: TrainingConfig,
    out: Path,
    turns: Sequence[Sequence[str]],
    runs: int = 1,
    *,
    share: float = SHARE,
    patience: int = 2,
    device: str = "auto",
    seed: int = 7,
) -> Iterator[LeftOut]:
    """Trains without some sources, run after run, and scores each run's weights on these: the score that tells when
    to stop, for more training on the same sources raises theirs in any case.

    Bundled weights are made in this way: every run starts from what the last one left, and leaves the mean of its
    averaged weights and those that it started from. The weights to keep are those with the highest score.

    Args:
        config: of every run, seeds apart, which count up; its data must be folders, its start, if any, weights that
            have not seen the sources.
        out: folder of the runs, in OUT/SOURCES/1, 2 and so on. One already there goes on, or is only scored.
        turns: sources to leave out together, such as those of one scanner or patient group.
        runs: at most so many a turn.
        share: of its start in what a run leaves; one from random weights leaves its own.
        patience: a turn ends when so many runs on end brought no higher score.
        device: as `train` takes it.
        seed: of the boxes' loosening.

    Raises:
        TrainingError: as `train`; a turn whose sources have no file in the folders, or were seen by the weights to
            start from, as their card tells; a folder holds another run; a run was stopped.
    """
    folders = [path for path in config.data.paths if not path.is_file()]
    files = [file for path in folders for file in list_sources(config.data, path)]
    for sources in turns:
        left = [file for file in files if source_of(file.stem) in sources]
        if not left:
            raise TrainingError(
                f"data.paths: no case of {', '.join(sources)}; give its folder, not a packed file"
            )
        data = config.data.model_copy(update={"leave_out": (*config.data.leave_out, *sources)})
        start = config.model.start
        if start is not None:
            _check_unseen(start, sources)
        samples, minutes, best, since = 0, 0.0, -1.0, 0
        for number in range(1, runs + 1):
            folder = out / "+".join(sources) / str(number)
            model = config.model.model_copy(update={"start": start})
            if number > 1:
                model = model.model_copy(update={"start_model": None})
            run = config.model_copy(update={"data": data, "model": model, "seed": config.seed + number - 1})
            if start is None and (folder / LAST).exists() and load_config(folder / CONFIG).model.start:
                raise TrainingError(f"{folder}: holds a run with another start; give another --out")
            state = complete(run, folder, device=device)
            weights = folder / AVERAGE
            if start is not None and model.start_model is None:
                save_plain(mean_of(model.name, weights, start, share), folder / MEAN, model.name)
                weights = folder / MEAN
            samples, minutes = samples + state.samples, minutes + state.seconds / 60
            predictor = Predictor(model.name, device=device, weights=weights)
            rows = list(evaluate_boxes(left, predictor, seed))
            found = LeftOut(tuple(sources), number, samples, minutes, weights, rows)
            yield found
            score = found.score
            since = 0 if score > best else since + 1
            if since == patience:
                break
            best, start = max(best, score), weights


def _check_unseen(weights: Path, sources: Sequence[str]) -> None:
    """That no run on a weights' card, if they have one, was trained on any of the sources."""
    told = read_card(weights).get("training")
    while told:
        config = parse_config(told.get("config"), str(weights), {"data.paths": []})
        seen = [source for source in sources if config.data.uses(source)]
        if seen and config.mix.real:
            raise TrainingError(
                f"{weights}: have seen {', '.join(seen)}, as their card tells; start from others"
            )
        told = told.get("before")
