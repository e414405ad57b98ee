"""Many cases: each is answered or reported, and none stops the others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lexor.case import Case, CaseError, read_case, write_segmentation
from lexor.inference.predictor import Prediction, Predictor
from lexor.inference.targets import PromptMode


@dataclass(frozen=True)
class Outcome:
    """What became of one case: `error` is None where an answer was written to `output`."""

    source: Path
    output: Path
    case: Case | None
    prediction: Prediction | None
    error: str | None
    seconds: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of reading and of predicting."""
        read = self.case.warnings if self.case else ()
        return read + (self.prediction.warnings if self.prediction else ())

    def summary(self) -> str:
        """One line: shape, prompts and where they came from, classes, seconds; or the error."""
        if self.error is not None or self.case is None or self.prediction is None:
            return f"{self.source.name}: FAILED: {self.error}"
        prediction = self.prediction
        counts = Counter(target.source for target in prediction.targets)
        prompts = ", ".join(f"{count} {source}" for source, count in counts.items())
        found = [target.found.summary() for target in prediction.targets if target.found is not None]
        if found:
            prompts += f" ({'; '.join(found)})"
        clicks = sum(len(target.clicks.points) for target in prediction.targets)
        if clicks:
            prompts += f" + {clicks} clicks"
        if any(target.previous is not None for target in prediction.targets):
            prompts += " + previous labels"
        shape = "x".join(map(str, prediction.labels.shape))
        classes = len(prediction.targets)
        return (
            f"{self.source.name}: {shape}, prompts: {prompts}, "
            f"{classes} class{'es' if classes != 1 else ''}, {self.seconds:.1f} s"
        )


def find_cases(inputs: Path) -> list[Path]:
    """The .npz files of a folder in sorted order, or the one file given.

    Raises:
        CaseError: there is nothing there to read.
    """
    if inputs.is_file():
        if inputs.suffix != ".npz":
            raise CaseError(f"{inputs}: only challenge .npz files are read; README tells how to make one")
        return [inputs]
    if not inputs.is_dir():
        raise CaseError(f"{inputs}: no such file or folder; give a challenge .npz file or a folder of them")
    found = sorted(path for path in inputs.glob("*.npz") if not path.name.startswith("."))
    if not found:
        raise CaseError(f"{inputs}: the folder holds no .npz file; put challenge cases into it")
    return found


def predict_files(
    sources: list[Path],
    outputs: Path,
    predictor: Predictor,
    prompt: PromptMode = "given",
    top: int = 1,
    probabilities: bool = False,
) -> Iterator[Outcome]:
    """Segments files one after another, writing `outputs`/NAME.npz for each that can be answered.

    Args:
        sources: challenge .npz files.
        outputs: folder for the answers, made if missing. A stale answer of a failed case is removed.
        predictor: answers them.
        prompt, top: see `Predictor.segment`.
        probabilities: the answers hold them as well, see `write_segmentation`.

    Raises:
        CaseError: an answer would replace its case.
    """
    for source in sources:
        if (outputs / f"{source.stem}.npz").resolve() == source.resolve():
            raise CaseError(f"{outputs}: the answers would replace the cases; give another folder for them")
    outputs.mkdir(parents=True, exist_ok=True)
    for source in sources:
        began = time.perf_counter()
        output = outputs / f"{source.stem}.npz"
        case: Case | None = None
        prediction: Prediction | None = None
        error: str | None = None
        try:
            case = read_case(source)
            prediction = predictor.segment(case, prompt, top, probabilities=probabilities)
            classes = len(prediction.targets)
            maps = (
                [partial(prediction.probability, i) for i in range(1, classes + 1)] if probabilities else None
            )
            write_segmentation(output, prediction.labels, classes, maps)
        except (CaseError, OSError) as problem:
            error = str(problem)
        except Exception as problem:
            # Whatever it is, a bug or a lack of memory: it must not cost the answers of the others.
            error = f"{source.name}: {type(problem).__name__}: {problem}"
        if error is not None:
            # An old answer would be scored as if it were this run's.
            try:
                output.unlink(missing_ok=True)
            except OSError as problem:
                error += f"; and what is at its place stays: {problem}"
        yield Outcome(source, output, case, prediction, error, time.perf_counter() - began)
