"""The `lexor` command: parse, call the library, print."""

from __future__ import annotations

import io
import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor._commands import Device, DeviceOption, ModelOption, TopOption, check_folders, failure
from lexor._prompt_command import prompt
from lexor.bench.cli import app as bench_app
from lexor.models.cli import app as weights_app
from lexor.training.cli import app as training_app

if TYPE_CHECKING:
    from lexor.inference.predictor import Predictor

app = typer.Typer(
    help="Interactive and automatic segmentation of 3D medical images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(weights_app, name="weights", help="List, verify and import weights.")
app.add_typer(bench_app, name="bench", help="Ratios against a named baseline, in one run.")


class Prompt(StrEnum):
    """Where prompts come from."""

    GIVEN = "given"
    INTENSITY = "intensity"
    AUTO = "auto"


class By(StrEnum):
    """Which tables `evaluate` prints."""

    MODALITY = "modality"
    STRATUM = "stratum"
    SOURCE = "source"
    ALL = "all"


PromptOption = Annotated[
    Prompt,
    typer.Option(
        "--prompt",
        help="given: the case's own prompts, auto's where it has none. auto: candidates, segmented and ranked. "
        "intensity: the paper's Algorithm 1.",
    ),
]


WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="A .safetensors file instead of the bundled weights.")
]


def _make_predictor(model: str, device: Device, weights: Path | None = None) -> Predictor:
    from lexor.inference.predictor import Predictor

    return Predictor(model=model, device=device.value, weights=weights)


@app.command()
def predict(
    inputs: Annotated[Path, typer.Argument(help="A challenge .npz file, or a folder of them.")] = Path(
        "/workspace/inputs"
    ),
    outputs: Annotated[Path, typer.Argument(help="Folder for the answers.")] = Path("/workspace/outputs"),
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    prompt: PromptOption = Prompt.GIVEN,
    top: TopOption = 1,
    weights: WeightsOption = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write a map of probabilities a class, too.")
    ] = False,
) -> None:
    """Segment cases. Exit status 0: every case was answered; 1: some were not; 2: nothing could be run."""
    from lexor.case import CaseError
    from lexor.inference.batch import find_cases, predict_files
    from lexor.models.checkpoints import WeightsError
    from lexor.viewing.console import progress

    failed = 0
    try:
        sources = find_cases(inputs)
        predictor = _make_predictor(model, device, weights)
        outcomes = predict_files(sources, outputs, predictor, prompt.value, top, probabilities)
        with progress(len(sources)) as advance:
            for outcome in outcomes:
                for warning in outcome.warnings:
                    advance.note(f"warning: {warning}")
                advance(outcome.summary())
                failed += outcome.error is not None
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    if failed:
        typer.echo(f"{failed} of {len(sources)} cases could not be answered", err=True)
        raise typer.Exit(1)


app.command()(prompt)


@app.command()
def models(
    measure: Annotated[
        bool, typer.Option("--measure", help="Run each on a window with a box: GFLOPs and seconds, too.")
    ] = False,
    device: DeviceOption = Device.AUTO,
) -> None:
    """List the models: parameters, weights, licence, and the scores on their card."""
    from lexor.models.checkpoints import WeightsError
    from lexor.models.factory import list_models
    from lexor.viewing.console import print_models

    try:
        found = list_models()
        measures = []
        if measure:
            from lexor.inference.runner import choose_device
            from lexor.models.measure import measure_models

            measures = list(measure_models(device=choose_device(device.value).type))
    except (WeightsError, ValueError) as problem:
        raise failure(problem) from None
    print_models(found, measures)


@app.command()
def evaluate(
    inputs: Annotated[Path, typer.Argument(help="Folder of challenge .npz files, with `gts` or --gts.")],
    gts: Annotated[
        Path | None,
        typer.Option(
            "--gts", help="Folder of .npz files of the same names that hold `gts`, as organisers keep it."
        ),
    ] = None,
    clicks: Annotated[
        int | None,
        typer.Option(
            "--clicks", min=0, help="Rounds of corrective clicks, 5 if not given; 0: the box run alone."
        ),
    ] = None,
    boxes: Annotated[
        bool, typer.Option("--boxes/--no-boxes", help="Withhold the boxes: the first run comes with clicks.")
    ] = True,
    prompt: Annotated[
        Prompt,
        typer.Option(
            "--prompt", help="auto, intensity: compare such a box with the given ones, too; then no clicks."
        ),
    ] = Prompt.GIVEN,
    top: Annotated[
        int,
        typer.Option("--top", min=1, help="Score the best of so many automatic targets beside the first."),
    ] = 1,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    weights: WeightsOption = None,
    sources: Annotated[
        str | None, typer.Option("--sources", help="Only these, e.g. CT_openkbp,US_deepreg; else all.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many cases of each source.")
    ] = None,
    by: Annotated[By, typer.Option("--by", help="Which tables of the box run to print.")] = By.MODALITY,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="A row per case, as the organisers' CSV; with its .jsonl it can be continued."
        ),
    ] = None,
    label_csv: Annotated[
        Path | None, typer.Option("--label-csv", help="A row per label of the box run.")
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write the means, as a weights' card holds them.")
    ] = None,
    loosen: Annotated[
        bool | None,
        typer.Option(
            "--loosen/--as-given", help="Loosen the boxes by the challenge's law; default: unless --gts."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the boxes' loosening, and of what --limit draws.")] = 7,
) -> None:
    """Score the challenge's protocol: the box run beside three answers that need no model, then clicks."""
    from lexor.case import CaseError
    from lexor.evaluation.cases import choose_cases
    from lexor.evaluation.protocol import CLICKS
    from lexor.evaluation.report import report_of, write_files
    from lexor.evaluation.results import CaseResult, Record
    from lexor.evaluation.session import Settings, evaluate_cases, identity
    from lexor.inference.batch import find_cases
    from lexor.models.checkpoints import WeightsError
    from lexor.viewing.console import progress

    wanted = [name.strip() for name in (sources or "").split(",") if name.strip()]
    if clicks and prompt is not Prompt.GIVEN:
        raise failure(f"--clicks {clicks}: automatic prompts are scored without clicks; leave it out")
    rounds = CLICKS if prompt is Prompt.GIVEN else 0
    settings = Settings(
        clicks=rounds if clicks is None else clicks,
        boxes=boxes,
        prompt=prompt.value,
        top=top,
        loosen=gts is None if loosen is None else loosen,
        seed=seed,
    )
    results: list[CaseResult] = []
    try:
        check_folders(csv, label_csv, as_json)
        if gts is not None and not gts.is_dir():
            raise CaseError(f"--gts {gts}: no such folder; give the one that holds the truths")
        found = find_cases(inputs)
        chosen = choose_cases(found, wanted, limit, seed)
        predictor = _make_predictor(model, device, weights)
        record = Record(csv and csv.with_suffix(".jsonl"), identity(predictor, settings, found, gts))
        with progress(len(chosen)) as advance:
            for result in evaluate_cases(found, predictor, settings, record, chosen, gts):
                advance(result.summary())
                if isinstance(result, CaseResult):
                    results.append(result)
                    write_files(results, settings, csv)
        write_files(results, settings, csv, label_csv, as_json)
    except (CaseError, WeightsError, ValueError, OSError, ImportError) as problem:
        raise failure(problem) from None
    for table in report_of(results, settings, by.value):
        typer.echo(f"\n{table}")
    if len(results) < len(chosen):
        typer.echo(f"{len(chosen) - len(results)} of {len(chosen)} cases could not be scored", err=True)
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to leave cases, masks and the picture.")] = Path(
        "demo"
    ),
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
) -> None:
    """Segment two embedded synthetic cases from automatic prompts, and draw the result."""
    from lexor.inference.batch import predict_files
    from lexor.models.checkpoints import WeightsError
    from lexor.viewing.demo import draw_demo, write_demo_cases

    try:
        sources = write_demo_cases(folder / "inputs")
        outcomes = list(predict_files(sources, folder / "outputs", _make_predictor(model, device)))
        for outcome in outcomes:
            typer.echo(outcome.summary())
        if any(outcome.error for outcome in outcomes):
            raise typer.Exit(1)
        picture = draw_demo(outcomes, folder / "preview.png")
    except (WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    for outcome in outcomes:
        typer.echo(f"mask: {outcome.output}")
    typer.echo(f"picture: {picture}")


# Commands of those who build models come after the ones of those who use them.
app.registered_commands += training_app.registered_commands


def main() -> None:
    """Entry point of the `lexor` command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    # A file's name may hold what the terminal cannot show; that must not end a run.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # As a container's first process we would be deaf to it, and elsewhere leave half a file behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    app()


if __name__ == "__main__":
    main()
