"""`lexor predict`: segment cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import (
    BackgroundOption,
    BoxOption,
    ClickOption,
    Device,
    DeviceOption,
    Format,
    FrameOption,
    FromMaskOption,
    LabelmapOption,
    MaskAs,
    MaskAsOption,
    ModalityOption,
    ModelOption,
    NameOption,
    Prompt,
    PromptOption,
    PromptsOption,
    SeriesOption,
    TopOption,
    WeightsOption,
    WindowOption,
    WorldOption,
    failure,
    make_predictor,
    prompts_of,
    reading_of,
)
from lexor.cli.output import say


def predict(
    inputs: Annotated[
        Path,
        typer.Argument(
            envvar="LEXOR_INPUTS",
            help="A scan: NIfTI, NRRD, MHA, TIFF, or DICOM (a folder or a file). Or a challenge .npz file. Or a "
            "folder of these; folders in it are searched for DICOM alone.",
        ),
    ],
    outputs: Annotated[
        Path,
        typer.Argument(
            envvar="LEXOR_OUTPUTS",
            help="Folder for the answers, made if missing; or for one scan a file, such as liver.nii.gz. Nothing but "
            "an older answer is replaced.",
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
        bool,
        typer.Option("--probabilities", help="Also write a map of probabilities for each class; .npz alone."),
    ] = False,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="Of the answers; as the input, if not given. DICOM gives dicom-seg."),
    ] = None,
    labelmap: LabelmapOption = False,
    box: BoxOption = None,
    click: ClickOption = None,
    background: BackgroundOption = None,
    world: WorldOption = False,
    prompts: PromptsOption = None,
    from_mask: FromMaskOption = None,
    mask_as: MaskAsOption = MaskAs.BOX,
    name: NameOption = None,
    window: WindowOption = None,
    modality: ModalityOption = None,
    series: SeriesOption = None,
    frame: FrameOption = None,
) -> None:
    """Segment scans and cases. Exit status 0: every case was answered; 1: some were not; 2: nothing could be run."""
    from lexor.cli.console import progress
    from lexor.errors import CaseError, WeightsError
    from lexor.inference.batch import find_sources, predict_files, unread_folders

    answered = 0
    try:
        given = prompts_of(box, click, background, world, prompts, from_mask, mask_as)
        reading = reading_of(series, frame, modality, window, name, given)
        sources = find_sources(inputs, outputs)
        for note in unread_folders(inputs, outputs):
            say(f"warning: {note}")
        predictor = make_predictor(model, device, weights)
        outcomes = predict_files(
            sources,
            outputs,
            predictor,
            prompt.value,
            top,
            strict,
            probabilities,
            reading=reading,
            format=None if format is None else format.value,
            labelmap=labelmap,
        )
        with progress(len(sources)) as advance:
            for outcome in outcomes:
                for warning in outcome.warnings:
                    advance.note(f"warning: {warning}")
                advance(outcome.summary())
                answered += outcome.error is None
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    missing = len(sources) - answered
    where = f"{outputs}/" if outputs.is_dir() else outputs
    say(
        f"{answered} of {len(sources)} case{'s' if len(sources) != 1 else ''} answered: {where}",
        err=missing > 0,
    )
    if missing:
        raise typer.Exit(1)
