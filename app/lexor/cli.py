"""The `lexor` command: parse, call the library, print."""

from __future__ import annotations

import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor._commands import Device, DeviceOption, ModelOption, TopOption, check_folders, failure
from lexor._output import forgive_output, lost_output, say
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
    inputs: Annotated[
        Path,
        typer.Argument(
            envvar="LEXOR_INPUTS",
            help="A challenge .npz file: imgs (D, H, W) and, where there are prompts, boxes, clicks, prev_pred. Or a "
            "folder of such files; folders in it are not read. No NIfTI, DICOM or NRRD: README tells how to make an "
            ".npz of one.",
        ),
    ],
    outputs: Annotated[
        Path,
        typer.Argument(
            envvar="LEXOR_OUTPUTS",
            help="Folder for the answers, made if missing: NAME.npz with segs (D, H, W). No other file is replaced.",
        ),
    ],
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    prompt: PromptOption = Prompt.GIVEN,
    top: TopOption = 1,
    weights: WeightsOption = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="A class whose prompt cannot be read fails its case, instead of a box found."
        ),
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write a map of probabilities a class, too.")
    ] = False,
) -> None:
    """Segment cases. Exit status 0: every case was answered; 1: some were not; 2: nothing could be run."""
    from lexor._errors import WeightsError
    from lexor.case import CaseError
    from lexor.inference.batch import find_cases, predict_files, unread_folders
    from lexor.viewing.console import progress

    answered = 0
    try:
        sources = find_cases(inputs)
        for note in unread_folders(inputs, outputs):
            say(f"warning: {note}")
        predictor = _make_predictor(model, device, weights)
        outcomes = predict_files(sources, outputs, predictor, prompt.value, top, strict, probabilities)
        with progress(len(sources)) as advance:
            for outcome in outcomes:
                for warning in outcome.warnings:
                    advance.note(f"warning: {warning}")
                advance(outcome.summary())
                answered += outcome.error is None
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    missing = len(sources) - answered
    say(
        f"{answered} of {len(sources)} case{'s' if len(sources) != 1 else ''} answered: {outputs}/",
        err=missing > 0,
    )
    if missing:
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
    from lexor._errors import WeightsError
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
    from lexor._errors import WeightsError
    from lexor.case import CaseError
    from lexor.evaluation.cases import choose_cases
    from lexor.evaluation.protocol import CLICKS
    from lexor.evaluation.report import report_of, write_files
    from lexor.evaluation.results import CaseResult, Record
    from lexor.evaluation.session import Settings, evaluate_cases, identity
    from lexor.inference.batch import find_cases
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
        for line in ("", *table.split("\n")):
            say(line)
    if len(results) < len(chosen):
        say(f"{len(chosen) - len(results)} of {len(chosen)} cases could not be scored", err=True)
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to leave cases, masks and the picture.")] = Path(
        "demo"
    ),
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
) -> None:
    """Segment three real cases that come with Lexor, from boxes and from no prompt, and draw the answers."""
    from lexor._errors import WeightsError
    from lexor.inference.batch import predict_files
    from lexor.viewing.demo import copy_cases, draw_demo

    given, automatic = folder / "outputs", folder / "outputs-no-prompt"
    try:
        predictor = _make_predictor(model, device)
        sources = copy_cases(folder / "inputs")
        boxed = list(predict_files(sources, given, predictor))
        unprompted = list(predict_files(sources, automatic, predictor, "auto"))
        outcomes = [outcome for pair in zip(boxed, unprompted, strict=True) for outcome in pair]
        for outcome in outcomes:
            say(outcome.summary())
        if any(outcome.error for outcome in outcomes):
            raise typer.Exit(1)
        picture = draw_demo(boxed, unprompted, folder / "preview.png")
    except (WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    say(f"masks: {given}/ from boxes, {automatic}/ from no prompt")
    say(f"picture: {picture}")


# Commands of those who build models come after the ones of those who use them.
app.registered_commands += training_app.registered_commands


# What these commands are asked for is what they print; the others leave files.
_PRINTING = ("prompt", "models", "evaluate", "weights", "bench")


def main() -> None:
    """Entry point of the `lexor` command."""
    forgive_output()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    # As a container's first process we would be deaf to it, and elsewhere leave half a file behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except SystemExit as end:
        if (problem := lost_output()) is not None:
            say(f"warning: not all could be printed: {problem.strerror}", err=True)
            if not end.code and sys.argv[1:2] and sys.argv[1] in _PRINTING:
                raise SystemExit(1) from None
        raise


if __name__ == "__main__":
    main()
