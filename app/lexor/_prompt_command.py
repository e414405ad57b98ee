"""The `lexor prompt` command: every parameter of the automatic boxes is an option of it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lexor._commands import Device, DeviceOption, ModelOption, TopOption, failure


class Method(StrEnum):
    """How automatic boxes are found."""

    AUTO = "auto"
    INTENSITY = "intensity"


_INTENSITY = "Of --method intensity"
_CANDIDATES = "Candidates of --method auto"


def prompt(
    context: typer.Context,
    case: Annotated[Path, typer.Argument(help="A challenge .npz file.")],
    method: Annotated[
        Method,
        typer.Option(help="auto: candidates, segmented and ranked. intensity: the paper's Algorithm 1."),
    ] = Method.AUTO,
    top: TopOption = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The challenge's `boxes`, as JSON.")] = False,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    sigma: Annotated[
        float,
        typer.Option(help="Gaussian smoothing, voxels (paper section 2.3).", rich_help_panel=_INTENSITY),
    ] = 2.0,
    low: Annotated[
        float,
        typer.Option(help="Lower limit: mean + LOW x std (section 2.3, eq. 1).", rich_help_panel=_INTENSITY),
    ] = 0.5,
    high: Annotated[
        float,
        typer.Option(help="Upper limit: mean + HIGH x std (section 2.3, eq. 1).", rich_help_panel=_INTENSITY),
    ] = 2.0,
    radius: Annotated[
        int,
        typer.Option(help="Closing ball's radius, voxels (paper section 2.3).", rich_help_panel=_INTENSITY),
    ] = 3,
    truncate: Annotated[
        float,
        typer.Option(help="Gaussian's reach, sigmas (section 2.3 has none).", rich_help_panel=_INTENSITY),
    ] = 4.0,
    margin: Annotated[
        int,
        typer.Option(
            help="Voxels added on each side (section 2.3, Algorithm 1).", rich_help_panel=_INTENSITY
        ),
    ] = 5,
    voxels: Annotated[
        int,
        typer.Option(help="The volume is reduced to at most so many.", rich_help_panel=_CANDIDATES),
    ] = 300_000,
    smoothing: Annotated[
        float,
        typer.Option(
            help="Sigma before bands and tails are cut, reduced voxels.", rich_help_panel=_CANDIDATES
        ),
    ] = 0.7,
    levels: Annotated[
        int, typer.Option(help="Quantiles of the body that bands lie between.", rich_help_panel=_CANDIDATES)
    ] = 12,
    widest: Annotated[
        int, typer.Option(help="Bands are 1 to so many levels wide.", rich_help_panel=_CANDIDATES)
    ] = 3,
    tails: Annotated[
        list[float] | None,
        typer.Option(
            "--tail",
            help="A share of brightest and darkest voxels; repeat for more (default: .005 .01 .02 .05 .1 .2 .35).",
            rich_help_panel=_CANDIDATES,
        ),
    ] = None,
    scales: Annotated[
        list[float] | None,
        typer.Option(
            "--scale",
            help="A sigma of the local contrast, reduced voxels; repeat for more (default: 1 2 4 7).",
            rich_help_panel=_CANDIDATES,
        ),
    ] = None,
    contrast: Annotated[
        list[float] | None,
        typer.Option(
            help="A threshold of it, standard deviations; repeat for more (default: 1 2).",
            rich_help_panel=_CANDIDATES,
        ),
    ] = None,
    largest: Annotated[
        int, typer.Option(help="So many components of each mask.", rich_help_panel=_CANDIDATES)
    ] = 8,
    smallest: Annotated[
        int, typer.Option(help="A component's least size, reduced voxels.", rich_help_panel=_CANDIDATES)
    ] = 12,
    overlap: Annotated[
        float, typer.Option(help="Of boxes with a greater IoU one is dropped.", rich_help_panel=_CANDIDATES)
    ] = 0.6,
    most: Annotated[
        int, typer.Option(help="So many candidates are shown to the model.", rich_help_panel=_CANDIDATES)
    ] = 24,
    central: Annotated[
        list[float] | None,
        typer.Option(
            help="A box about the middle, share of each axis; repeat for more (default: .5 .7).",
            rich_help_panel=_CANDIDATES,
        ),
    ] = None,
) -> None:
    """Print the automatic boxes of a case, best first."""
    from lexor.case import CaseError, read_case
    from lexor.inference.automatic import boxes_of
    from lexor.models.checkpoints import WeightsError
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
        found = boxes_of(read_case(case), method.value, model, device.value, top, intensity, candidates)
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    entries = [one.box.to_dict() for one in found]
    if as_json:
        typer.echo(json.dumps(entries))
    else:
        for one, entry in zip(found, entries, strict=True):
            line = "  ".join(f"{key}={value}" for key, value in entry.items())
            typer.echo(f"{line}  ({one.summary()})")


def _refuse_others(context: typer.Context, method: Method) -> None:
    """Ends the command where an option was given that the method does not have: nobody should trust its effect."""
    other = _INTENSITY if method is Method.AUTO else _CANDIDATES
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        given = source is not None and source.name == "COMMANDLINE"
        if given and getattr(parameter, "rich_help_panel", None) == other:
            raise failure(f"{parameter.opts[0]}: --method {method.value} has no such parameter; leave it out")
