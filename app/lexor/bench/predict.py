"""`lexor bench predict`: seconds by stage and peak memory of whole cases, from file to file."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexor.bench.cases import KINDS, Sizes, chosen, write_cases
from lexor.bench.memory import peak_of_process

if TYPE_CHECKING:
    from lexor.bench.stages import Stages
    from lexor.inference.predictor import Predictor

Slots = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """What all kinds of a run have in common.

    Attributes:
        model: a name of `list_models()`.
        device: "auto", "cpu" or "cuda".
        repeats: how often each is predicted; the fastest counts, the first is told as well.
        sizes: of the cases.
        isolated: a process of its own for each kind, whose peak memory can be told.
    """

    model: str = "mobilenet3d"
    device: str = "auto"
    repeats: int = 3
    sizes: Sizes = field(default_factory=Sizes)
    isolated: bool = True


@dataclass(frozen=True)
class Row:
    """A kind's figures.

    Attributes:
        kind: its name.
        about: in a few words.
        cases: how many.
        shape: of the first case, (D, H, W).
        classes: of the first case.
        start: seconds to import the package and load the model.
        first: seconds of the first run, all of its cases together.
        seconds: of the fastest.
        processor: seconds of all cores together, of the fastest.
        stages: seconds of the fastest by stage; empty for a folder at once.
        peak: of the process's memory, bytes; None if it had no process of its own, or nobody tells.
        gpu_peak: of torch's memory on the GPU, bytes; None without one.
        baseline: the kind that `ratio` refers to.
        ratio: `seconds` as a multiple of the baseline's in the same run; None for a baseline.
        processor_ratio: the same of `processor`: other work on the machine changes it less.
    """

    kind: str
    about: str
    cases: int
    shape: tuple[int, ...]
    classes: int
    start: float
    first: float
    seconds: float
    processor: float
    stages: Slots
    peak: int | None
    gpu_peak: int | None
    baseline: str | None = None
    ratio: float | None = None
    processor_ratio: float | None = None


def bench_predict(names: Sequence[str], settings: Settings) -> Iterator[Row]:
    """Predicts cases of some kinds, or all, and compares each with its baseline.

    Raises:
        ValueError: no such kind, model or device, or a size that has no room for the boxes.
        WeightsError: as `Predictor`.
    """
    done: dict[str, Row] = {}
    for kind in chosen(names):
        with tempfile.TemporaryDirectory(prefix="lexor-bench-") as folder:
            paths = write_cases(kind, settings.sizes, Path(folder) / "inputs")
            row = (
                _isolated(kind.name, paths, settings)
                if settings.isolated
                else run(kind.name, paths, settings)
            )
        done[kind.name] = row
        if kind.baseline is not None:
            base = done[kind.baseline]
            row = replace(
                row,
                baseline=kind.baseline,
                ratio=row.seconds / base.seconds,
                processor_ratio=row.processor / base.processor,
            )
        yield row


def report(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """All figures as JSON has them; `lexor bench report` prints them."""
    import torch

    return {
        "bench": "predict",
        "model": settings.model,
        "device": settings.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "repeats": settings.repeats,
        "rows": [asdict(row) for row in rows],
    }


def _isolated(kind: str, paths: Sequence[Path], settings: Settings) -> Row:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(run, kind, paths, settings).result()


def run(kind: str, paths: Sequence[Path], settings: Settings) -> Row:
    """Predicts the cases of one kind in this process.

    Args:
        kind: its name.
        paths: of its cases; answers are written into a folder beside theirs.
        settings: of the run.
    """
    began = time.perf_counter()
    from lexor.bench.stages import Stages
    from lexor.inference.predictor import Predictor
    from lexor.io.case import read_case

    predictor = Predictor(settings.model, settings.device)
    wait = _wait_for(predictor)
    start = time.perf_counter() - began
    outputs = paths[0].parent.parent / "outputs"
    runs: list[tuple[float, float, Slots]] = []
    for _ in range(settings.repeats):
        began, busy = time.perf_counter(), time.process_time()
        stages = Stages(wait)
        if KINDS[kind].at_once:
            _at_once(predictor, paths, outputs)
        else:
            outputs.mkdir(exist_ok=True)
            for path in paths:
                _step_by_step(predictor, path, outputs, stages)
        wait()
        taken = time.perf_counter() - began, time.process_time() - busy
        runs.append((*taken, {} if KINDS[kind].at_once else stages.seconds))
    seconds, processor, fastest = min(runs, key=lambda timed: timed[0])
    case = read_case(paths[0])
    peak = peak_of_process() if settings.isolated else None
    return Row(
        kind=kind,
        about=KINDS[kind].about,
        cases=len(paths),
        shape=case.volume.shape,
        classes=case.n_classes,
        start=start,
        first=runs[0][0],
        seconds=seconds,
        processor=processor,
        stages=fastest,
        peak=peak,
        gpu_peak=_gpu_peak(predictor),
    )


def _step_by_step(predictor: Predictor, path: Path, outputs: Path, stages: Stages) -> None:
    """What `predict_files` does for a case that nothing is wrong with."""
    from lexor.bench.stages import watching
    from lexor.io.case import read_case, write_segmentation

    with stages.stage("read"):
        case = read_case(path)
    with stages.stage("prepare"):
        session = predictor.session(case)
    with stages.stage("other"), watching(predictor.runner, stages):
        prediction = session.predict()
    with stages.stage("write"):
        write_segmentation(outputs / path.name, prediction.labels, prediction.n_classes)


def _at_once(predictor: Predictor, paths: Sequence[Path], outputs: Path) -> None:
    from lexor.inference.batch import predict_files

    for outcome in predict_files(list(paths), outputs, predictor):
        if outcome.error is not None:
            raise ValueError(outcome.error)


def _wait_for(predictor: Predictor) -> Any:
    """What waits until the GPU is done, and nothing on a CPU."""
    import torch

    return torch.cuda.synchronize if predictor.runner.device.type == "cuda" else lambda: None


def _gpu_peak(predictor: Predictor) -> int | None:
    import torch

    return torch.cuda.max_memory_allocated() if predictor.runner.device.type == "cuda" else None
