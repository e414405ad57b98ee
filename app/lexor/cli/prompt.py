"""The `lexor prompt` command: every parameter of the automatic boxes is an option of it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lexor.cli.options import (
    Device,
    DeviceOption,
    FrameOption,
    ModalityOption,
    ModelOption,
    SeriesOption,
    TopOption,
    WindowOption,
    failure,
    reading_of,
)
from lexor.cli.output import say


class Method(StrEnum):
    """How automatic boxes are found."""

    AUTO = "auto"
    INTENSITY = "intensity"


_INTENSITY = "Of --method intensity"
_CANDIDATES = "Candidates of --method auto"
# Of parameters that are called otherwise.
_OPTIONS = {"closing_radius": "--radius", "tails": "--tail", "scales": "--scale"}


def _option(panel: str, text: str, *names: str) -> Any:
    """An option that only the method of a help panel has."""
    return typer.Option(*names, help=text, rich_help_panel=panel)


def prompt(
    context: typer.Context,
    case: Annotated[Path, typer.Argument(help="A scan as of `lexor predict`, or a challenge .npz case.")],
    method: Annotated[
        Method,
        typer.Option(
            help="auto: segment candidate boxes, and keep the best. intensity: the paper's Algorithm 1."
        ),
    ] = Method.AUTO,
    top: TopOption = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print them as JSON, in the form of the challenge's `boxes`.")
    ] = False,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    series: SeriesOption = None,
    frame: FrameOption = None,
    modality: ModalityOption = None,
    window: WindowOption = None,
    sigma: Annotated[
        float,
        _option(_INTENSITY, "Gaussian smoothing, voxels (paper section 2.3)."),
    ] = 2.0,
    low: Annotated[
        float,
        _option(_INTENSITY, "Lower limit: mean + LOW x std (section 2.3, eq. 1)."),
    ] = 0.5,
    high: Annotated[
        float,
        _option(_INTENSITY, "Upper limit: mean + HIGH x std (section 2.3, eq. 1)."),
    ] = 2.0,
    radius: Annotated[
        int,
        _option(_INTENSITY, "Closing ball's radius, voxels (paper section 2.3)."),
    ] = 3,
    truncate: Annotated[
        float,
        _option(_INTENSITY, "Gaussian's reach, sigmas (section 2.3 has none)."),
    ] = 4.0,
    margin: Annotated[
        int,
        _option(_INTENSITY, "Voxels added on each side (section 2.3, Algorithm 1)."),
    ] = 5,
    voxels: Annotated[
        int,
        _option(_CANDIDATES, "Before the search the volume is reduced to at most so many."),
    ] = 300_000,
    smoothing: Annotated[
        float,
        _option(_CANDIDATES, "Sigma of the Gaussian before bands and tails, reduced voxels."),
    ] = 0.7,
    levels: Annotated[
        int, _option(_CANDIDATES, "Number of grey levels (quantiles) that bands are made of.")
    ] = 12,
    widest: Annotated[int, _option(_CANDIDATES, "Bands are 1 to so many levels wide.")] = 3,
    tails: Annotated[
        list[float] | None,
        _option(
            _CANDIDATES,
            "A share of brightest and darkest voxels; repeat for more (default: .005 .01 .02 .05 .1 .2 .35).",
            "--tail",
        ),
    ] = None,
    scales: Annotated[
        list[float] | None,
        _option(
            _CANDIDATES,
            "A sigma of the local contrast, reduced voxels; repeat for more (default: 1 2 4 7).",
            "--scale",
        ),
    ] = None,
    contrast: Annotated[
        list[float] | None,
        _option(
            _CANDIDATES,
            "Threshold of the local contrast, standard deviations; repeat for more (default: 1 2).",
        ),
    ] = None,
    largest: Annotated[int, _option(_CANDIDATES, "So many components of each mask, the largest first.")] = 8,
    smallest: Annotated[int, _option(_CANDIDATES, "A component's least size, reduced voxels.")] = 12,
    overlap: Annotated[float, _option(_CANDIDATES, "Of two boxes with a greater IoU, one is dropped.")] = 0.6,
    most: Annotated[int, _option(_CANDIDATES, "At most so many candidates are segmented.")] = 24,
    central: Annotated[
        list[float] | None,
        _option(_CANDIDATES, "A box about the middle, share of each axis; repeat for more (default: .5 .7)."),
    ] = None,
) -> None:
    """Print the automatic boxes of a case, best first."""
    from lexor.errors import CaseError, WeightsError
    from lexor.inference.strategies.automatic import boxes_of
    from lexor.io.reading import open_source
    from lexor.prompting import CandidateParameters, IntensityParameters

    _refuse_others(context, method)
    defaults = CandidateParameters()
    try:
        intensity = IntensityParameters(
            sigma=sigma, low=low, high=high, closing_radius=radius, margin=margin, truncate=truncate
        )
        candidates = CandidateParameters(
            voxels=voxels,
            smoothing=smoothing,
            levels=levels,
            widest=widest,
            tails=tuple(tails or defaults.tails),
            scales=tuple(scales or defaults.scales),
            contrast=tuple(contrast or defaults.contrast),
            largest=largest,
            smallest=smallest,
            overlap=overlap,
            most=most,
            central=tuple(central or defaults.central),
        )
    except ValueError as problem:
        name, _, rest = str(problem).partition(" ")
        raise failure(f"{_OPTIONS.get(name, f'--{name}')} {rest}") from None
    try:
        opened = open_source(case, reading_of(series, frame, modality, window, None))
        found = boxes_of(opened.case, method.value, model, device.value, top, intensity, candidates)
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    entries = [one.box.to_dict() for one in found]
    if as_json:
        typer.echo(json.dumps(entries))
    else:
        for one, entry in zip(found, entries, strict=True):
            line = "  ".join(f"{key}={value}" for key, value in entry.items())
            say(f"{line}  ({one.summary()})")


def _refuse_others(context: typer.Context, method: Method) -> None:
    """Ends the command where an option was given that the method does not have: nobody should trust its effect."""
    other = _INTENSITY if method is Method.AUTO else _CANDIDATES
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        given = source is not None and source.name == "COMMANDLINE"
        if given and getattr(parameter, "rich_help_panel", None) == other:
            raise failure(f"{parameter.opts[0]}: --method {method.value} has no such parameter; leave it out")
