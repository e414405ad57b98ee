"""`lexor predict`: segment cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.options import (
    Device,
    DeviceOption,
    ModelOption,
    Prompt,
    PromptOption,
    TopOption,
    WeightsOption,
    failure,
    make_predictor,
)
from lexor.cli.output import say

if TYPE_CHECKING:
    pass


def predict(
    inputs: Annotated[
        Path,
        typer.Argument(
            envvar="LEXOR_INPUTS",
            help="A challenge .npz file: imgs (D, H, W) and, where there are prompts, boxes, clicks, prev_pred. Or a "
            "folder of such files; folders in it are not read. Not NIfTI, DICOM or NRRD: docs/cases.md shows how "
            "to make an .npz of one.",
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
            "--strict",
            help="Fail a case if the only prompt of a class cannot be read, instead of using an automatic box.",
        ),
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write a map of probabilities for each class.")
    ] = False,
) -> None:
    """Segment cases. Exit status 0: every case was answered; 1: some were not; 2: nothing could be run."""
    from lexor.cli.console import progress
    from lexor.errors import CaseError, WeightsError
    from lexor.inference.batch import find_cases, predict_files, unread_folders

    answered = 0
    try:
        sources = find_cases(inputs)
        for note in unread_folders(inputs, outputs):
            say(f"warning: {note}")
        predictor = make_predictor(model, device, weights)
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
