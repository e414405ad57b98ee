"""An evaluation: case by case, each answered or reported, going on from what an earlier one has finished."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lexor
from lexor.errors import CaseError
from lexor.evaluation.automatic import automatic_run
from lexor.evaluation.boxes import Answering, Row, label_rows
from lexor.evaluation.cases import given_cases, in_order, loosened_cases, truth_of
from lexor.evaluation.results import CaseResult, Record
from lexor.evaluation.rounds import CLICKS, Run, runs_of
from lexor.inference.predictor import Predictor
from lexor.inference.targets import PromptMode
from lexor.io.case import Case
from lexor.io.pairs import Pair, Source
from lexor.protocol.clicks import labels_in
from lexor.protocol.sources import source_of


@dataclass(frozen=True)
class Settings:
    """What the scores of a case depend on, beside the model.

    Attributes:
        clicks: rounds after the box run.
        boxes: False withholds them: the first run then comes with clicks, or, without rounds, there is none.
        prompt: "auto" and "intensity" add a run on an automatic box.
        top: see `automatic_run`.
        loosen: the boxes are loosened by the challenge's law first; else they are as the files hold them.
        seed: of the loosening.
    """

    clicks: int = CLICKS
    boxes: bool = True
    prompt: PromptMode = "given"
    top: int = 1
    loosen: bool = True
    seed: int = 7


@dataclass(frozen=True)
class Failure:
    """A case that could not be scored, and why, in one line."""

    case: str
    error: str

    def summary(self) -> str:
        """One line for people."""
        return f"{self.case}: FAILED: {self.error}"


def identity(
    predictor: Predictor, settings: Settings, paths: Sequence[Source], truths: Path | None = None
) -> dict[str, Any]:
    """What the results depend on, for the head of a `Record`: the settings, and hashes of the model's weights, of the
    cases (names and sizes, of the truths as well where they are apart) and of this package.

    Args:
        paths, truths: as `evaluate_cases` takes them.
    """
    weights = hashlib.sha256()
    for name, tensor in sorted(predictor.runner.model.state_dict().items()):
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().float().numpy().tobytes())
    cases = hashlib.sha256()
    for path in in_order(paths):
        for file in _files(path, truths):
            cases.update(f"{file.name} {file.stat().st_size if file.is_file() else None}\n".encode())
    code = hashlib.sha256()
    package = Path(lexor.__file__).parent
    for path in sorted(package.rglob("*.py")):
        code.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return {
        **asdict(settings),
        "weights": weights.hexdigest(),
        "cases": cases.hexdigest(),
        "code": code.hexdigest(),
    }


def _files(source: Source, truths: Path | None) -> tuple[Path, ...]:
    if isinstance(source, Pair):
        return source.image, source.labels
    return (source,) if truths is None else (source, truths / source.name)


def evaluate_cases(
    paths: Sequence[Source],
    predictor: Answering,
    settings: Settings,
    record: Record,
    chosen: Collection[Source] | None = None,
    truths: Path | None = None,
) -> Iterator[CaseResult | Failure]:
    """Results in the order of the cases' names; what the record has of them is not computed again.

    Args:
        paths: the cases of a folder.
        record: is added to.
        chosen: the cases wanted of `paths`, None for all; see `loosened_cases`.
        truths: a folder of files of the same names that hold `gts`; None: the cases hold it.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    wanted = in_order(paths if chosen is None else chosen)
    missing = {path for path in wanted if path.stem not in record.finished}
    cases = loosened_cases(paths, settings.seed, missing) if settings.loosen else given_cases(missing)
    for path in wanted:
        if path not in missing:
            yield record.finished[path.stem]
            continue
        _, case = next(cases)
        try:
            if isinstance(case, CaseError):
                raise case
            result = _evaluate(case, path, predictor, settings, truths)
        except ImportError:
            raise
        except (CaseError, OSError) as problem:
            yield Failure(path.stem, str(problem))
        except Exception as problem:
            # A bug or a lack of memory at one case must not cost the hours spent on the others.
            yield Failure(path.stem, f"{path.name}: {type(problem).__name__}: {problem}")
        else:
            record.add(result)
            yield result


def _evaluate(
    case: Case, path: Source, predictor: Answering, settings: Settings, truths: Path | None
) -> CaseResult:
    truth = truth_of(case, path, truths)
    whole = case
    if not settings.boxes:
        case = replace(case, boxes=(), clicks=(), previous=None)
    if not case.boxes and not settings.clicks and settings.prompt == "given":
        raise CaseError(f"{path.name}: boxes: there are none to run on; give --clicks 1 or more")
    runs: list[Run] = []
    rows: list[Row] = []
    for run, labels in runs_of(case, truth, predictor, settings.clicks):
        if case.boxes and not runs:
            rows = label_rows(case, truth, labels)
        runs.append(run)
    automatic = None
    if settings.prompt != "given":
        automatic = automatic_run(whole, truth, predictor, settings.prompt, settings.top)
    return CaseResult(
        case=case.name,
        modality=case.modality or "other",
        source=source_of(case.name),
        n_labels=len(labels_in(truth)),
        box_run=runs.pop(0) if case.boxes else None,
        click_runs=tuple(runs),
        automatic=automatic,
        rows=tuple(rows),
    )
