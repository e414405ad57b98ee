"""`lexor predict`: segment cases."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

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
    check_folders,
    failure,
    make_predictor,
    prompts_of,
    reading_of,
)
from lexor.cli.output import say


def predict(
    context: typer.Context,
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
    statistics: Annotated[
        Path | None,
        typer.Option(
            "--statistics", help="Write volume, intensities and place of each class: .csv or .json."
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw each answer as NAME.png beside it: three planes.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", help="Write a run.json: versions, weights, options, and what became of each."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Pass over what an earlier run answered from the same input, options and weights, by its log.",
        ),
    ] = False,
    log: Annotated[
        bool,
        typer.Option(
            "--log/--no-log", help="Keep lexor-run.jsonl in a folder of answers, for --resume and report."
        ),
    ] = True,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a line of JSON for each case on standard output, and nothing else."
        ),
    ] = False,
) -> None:
    """Segment scans and cases.

    Exit status 0: every case was answered; 1: some were not; 2: nothing could be run; 130: stopped by Ctrl-C.
    """
    from lexor.cli.following import conclude, follow
    from lexor.errors import CaseError, WeightsError
    from lexor.inference.batch import find_sources, predict_files, unread_folders
    from lexor.inference.runlog import head_of
    from lexor.models.factory import weights_used
    from lexor.viewing.extras import Extras

    try:
        check_folders(statistics, report, made=outputs)
        given = prompts_of(box, click, background, world, prompts, from_mask, mask_as)
        reading = reading_of(series, frame, modality, window, name, given)
        sources = find_sources(inputs, outputs)
        for note in unread_folders(inputs, outputs):
            say(f"warning: {note}", err=as_json)
        predictor = make_predictor(model, device, weights)
        chosen = predictor.runner.device.type
        head = head_of(model, weights_used(model, weights), chosen, _options(context))
        extras = Extras(head, statistics, preview, report)
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
            head=head,
            logged=log,
            resume=resume,
        )
        tally = follow(outcomes, len(sources), extras, as_json)
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    where = f"{outputs}/" if outputs.is_dir() else str(outputs)
    conclude(tally, str(tally.written) if tally.total == 1 and tally.written else where, as_json)


# What changes no answer.
_ASIDE = (
    "inputs",
    "outputs",
    "weights",
    "model",
    "device",
    "statistics",
    "preview",
    "report",
    "resume",
    "log",
)


def _options(context: typer.Context) -> dict[str, Any]:
    """The options that change an answer, and are not as they are by default; files by what is in them."""
    from lexor.inference.runlog import hash_of

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return {"name": value.name, "sha256": hash_of(value) if value.exists() else ""}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return value.value if isinstance(value, Enum) else value

    unasked = () if context.params.get("from_mask") else ("mask_as",)
    aside = (*_ASIDE, "as_json", "debug", *unasked)
    options = {key: plain(value) for key, value in sorted(context.params.items()) if key not in aside}
    return {key: value for key, value in options.items() if value not in (None, False, [])}
