"""`lexor convert`: scans, challenge cases and labels in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import (
    BackgroundOption,
    BoxOption,
    ClickOption,
    Format,
    FrameOption,
    FromMaskOption,
    LabelmapOption,
    MaskAs,
    MaskAsOption,
    ModalityOption,
    NameOption,
    PromptsOption,
    SeriesOption,
    WindowOption,
    WorldOption,
    failure,
    prompts_of,
    reading_of,
)
from lexor.cli.output import say


def convert(
    inputs: Annotated[
        Path,
        typer.Argument(help="A scan, a challenge .npz file, labels in any format; or a folder of these."),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            help="Folder, made if missing; or for one source a file, such as case.npz or scan.nii.gz."
        ),
    ],
    format: Annotated[
        Format | None,
        typer.Option("--format", help="By OUTPUT's name; else .npz of a scan, and NIfTI of an .npz."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="INPUTS are labels, not images; of a challenge case, its truth.")
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option("--like", help="The scan that labels belong to: they are written on its grid."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="Labels on the scan's grid that a case gets as its truth (gts)."),
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
    """Convert scans to challenge cases, and back. Exit status as of predict; nothing is resampled."""
    from lexor.errors import CaseError
    from lexor.inference.batch import find_sources
    from lexor.inference.convert import Conversion, convert_files

    written = 0
    try:
        given = prompts_of(box, click, background, world, prompts, from_mask, mask_as)
        reading = reading_of(series, frame, modality, window, name, given)
        sources = find_sources(inputs, output)
        how = Conversion(None if format is None else format.value, reading, labels, like, truth, labelmap)
        for converted in convert_files(sources, output, how):
            for warning in converted.warnings:
                say(f"warning: {warning}")
            say(converted.summary(), err=converted.error is not None)
            written += converted.error is None
    except (CaseError, ValueError, OSError) as problem:
        raise failure(problem) from None
    if written < len(sources):
        say(f"{written} of {len(sources)} converted", err=True)
        raise typer.Exit(1)
