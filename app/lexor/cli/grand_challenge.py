"""`lexor grand-challenge`: one job in a container of grand-challenge.org."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import (
    Device,
    DeviceOption,
    ModalityOption,
    ModelOption,
    WeightsOption,
    WindowOption,
    failure,
    make_predictor,
)
from lexor.cli.output import say


def grand_challenge(
    output_slug: Annotated[
        str,
        typer.Option("--output-slug", envvar="LEXOR_OUTPUT_SLUG", help="Of the segmentation's socket."),
    ],
    image_slug: Annotated[
        str | None,
        typer.Option("--image-slug", envvar="LEXOR_IMAGE_SLUG", help="Of the image, if there are several."),
    ] = None,
    previous_slug: Annotated[
        str | None,
        typer.Option("--previous-slug", envvar="LEXOR_PREVIOUS_SLUG", help="Of the last answer's labels."),
    ] = None,
    inputs: Annotated[Path, typer.Option("--input", help="Folder with inputs.json.")] = Path("/input"),
    outputs: Annotated[Path, typer.Option("--output", help="Folder for images/SLUG/output.mha.")] = Path(
        "/output"
    ),
    modality: ModalityOption = None,
    window: WindowOption = None,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    weights: WeightsOption = None,
) -> None:
    """Answer one job of grand-challenge.org: an image, with points and boxes if it has any. Exit status 0: done."""
    from lexor.errors import CaseError, WeightsError
    from lexor.inference.grand_challenge import Job, answer_job

    said = None if modality is None else modality.value
    try:
        job = Job(inputs, outputs, output_slug, image_slug, previous_slug, said, window)
        output, prediction = answer_job(job, make_predictor(model, device, weights))
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    for warning in prediction.warnings:
        say(f"warning: {warning}")
    count = len(prediction.targets)
    say(f"{output}: {count} class{'es' * (count != 1)}, {prediction.seconds:.1f} s")
