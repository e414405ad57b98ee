"""The `lexor` command: parse, call the library, print."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lexor.inference.predictor import Predictor

app = typer.Typer(
    help="Interactive and automatic segmentation of 3D medical images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Device(StrEnum):
    """Where models run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Prompt(StrEnum):
    """Where prompts come from."""

    GIVEN = "given"
    AUTO = "auto"


class By(StrEnum):
    """Which tables `evaluate` prints."""

    MODALITY = "modality"
    STRATUM = "stratum"
    SOURCE = "source"
    ALL = "all"


ModelOption = Annotated[str, typer.Option("--model", help="A model of `lexor models`.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="auto: the GPU where there is one.")]
PromptOption = Annotated[
    Prompt,
    typer.Option("--prompt", help="given: the case's own prompts, automatic ones where it has none."),
]
TopOption = Annotated[int, typer.Option("--top", min=1, help="How many automatic targets, best first.")]


def _fail(message: object) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)


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
) -> None:
    """Segment cases. Exit status 0: every case was answered; 1: some were not; 2: nothing could be run."""
    from lexor.case import CaseError
    from lexor.inference.batch import find_cases, predict_files
    from lexor.models.checkpoints import WeightsError
    from lexor.viewing.console import progress

    failed = 0
    try:
        sources = find_cases(inputs)
        predictor = _make_predictor(model, device)
        outcomes = predict_files(sources, outputs, predictor, prompt.value, top)
        with progress(len(sources)) as advance:
            for outcome in outcomes:
                for warning in outcome.warnings:
                    advance.note(f"warning: {warning}")
                advance(outcome.summary())
                failed += outcome.error is not None
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise _fail(problem) from None
    if failed:
        typer.echo(f"{failed} of {len(sources)} cases could not be answered", err=True)
        raise typer.Exit(1)


@app.command()
def prompt(
    case: Annotated[Path, typer.Argument(help="A challenge .npz file.")],
    top: TopOption = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The challenge's `boxes`, as JSON.")] = False,
    device: DeviceOption = Device.AUTO,
    sigma: Annotated[float, typer.Option(help="Gaussian smoothing, voxels (paper section 2.3).")] = 2.0,
    low: Annotated[float, typer.Option(help="Lower threshold: mean + LOW x std (paper eq. 1).")] = 0.5,
    high: Annotated[float, typer.Option(help="Upper threshold: mean + HIGH x std (paper eq. 1).")] = 2.0,
    radius: Annotated[int, typer.Option(help="Closing ball's radius, voxels (paper section 2.3).")] = 3,
    truncate: Annotated[float, typer.Option(help="Reach of the Gaussian kernel, in sigmas.")] = 4.0,
    margin: Annotated[int, typer.Option(help="Voxels added on each side (paper, Algorithm 1).")] = 5,
) -> None:
    """Print the automatic boxes of a case (paper section 2.3), best first."""
    from lexor.case import CaseError, read_case
    from lexor.prompting import IntensityParameters, auto_prompt

    try:
        parameters = IntensityParameters(
            sigma=sigma, low=low, high=high, closing_radius=radius, margin=margin, truncate=truncate
        )
        boxes = auto_prompt(read_case(case).volume, top=top, device=device.value, parameters=parameters)
    except (CaseError, ValueError, OSError) as problem:
        raise _fail(problem) from None
    entries = [box.to_dict() for box in boxes]
    if as_json:
        typer.echo(json.dumps(entries))
    else:
        for entry in entries:
            typer.echo("  ".join(f"{key}={value}" for key, value in entry.items()))


@app.command()
def models() -> None:
    """List the models: parameters, weights, licence, and the scores on their card."""
    from lexor.models.factory import list_models
    from lexor.viewing.console import print_models

    print_models(list_models())


@app.command()
def evaluate(
    inputs: Annotated[Path, typer.Argument(help="Folder of challenge .npz files with `gts`.")],
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="A .safetensors file instead of the bundled weights.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option("--sources", help="Only these, e.g. CT_openkbp,US_deepreg; else all.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many cases of each source.")
    ] = None,
    by: Annotated[By, typer.Option("--by", help="Which tables to print.")] = By.MODALITY,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a row per label.")] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write the means, as a weights' card holds them.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the boxes' loosening, and of what --limit draws.")] = 7,
) -> None:
    """Score boxes loosened by the challenge's law: the model beside three answers that need none."""
    from lexor.case import CaseError
    from lexor.evaluation.boxes import choose_cases, evaluate_boxes
    from lexor.evaluation.tables import scores_of, tables_of, write_rows
    from lexor.inference.batch import find_cases
    from lexor.models.checkpoints import WeightsError
    from lexor.viewing.console import progress

    wanted = [name.strip() for name in (sources or "").split(",") if name.strip()]
    try:
        found = find_cases(inputs)
        chosen = choose_cases(found, wanted, limit, seed)
        predictor = _make_predictor(model, device, weights)
        rows = []
        with progress(len(chosen)) as advance:
            for result in evaluate_boxes(found, predictor, seed, chosen):
                rows += result.rows
                advance(result.summary())
        if csv is not None:
            write_rows(csv, rows)
        if as_json is not None:
            as_json.write_text(json.dumps(scores_of(rows), indent=2) + "\n", encoding="utf-8")
    except (CaseError, WeightsError, ValueError, OSError, ImportError) as problem:
        raise _fail(problem) from None
    for table in tables_of(rows, by.value):
        typer.echo(f"\n{table}")


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
        raise _fail(problem) from None
    for outcome in outcomes:
        typer.echo(f"mask: {outcome.output}")
    typer.echo(f"picture: {picture}")


def main() -> None:
    """Entry point of the `lexor` command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    app()


if __name__ == "__main__":
    main()
