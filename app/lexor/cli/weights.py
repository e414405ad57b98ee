"""Commands for weights: parse, call the library, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import failure
from lexor.cli.output import say

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("import-segvol")
def import_segvol(
    source: Annotated[Path, typer.Argument(help="SegVol_v1.pth, or the hub's pytorch_model.bin.")],
    weights: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Convert SegVol's published checkpoint to weights of the model segvol_vit_b."""
    from lexor.errors import WeightsError
    from lexor.models.segvol.checkpoint import import_segvol as run

    try:
        done = run(source, weights)
    except (WeightsError, OSError) as problem:
        raise failure(problem) from None
    say(f"{source}: laid out as {done.layout}")
    for what, count in done.left_out.items():
        say(f"left out: {what} ({count} {'tensor' if count == 1 else 'tensors'})")
    say(f"{weights}: {done.entry.parameters:,} parameters, {done.entry.bytes:,} bytes")


@app.command("list")
def list_weights() -> None:
    """List the weights of every folder that is searched, and say which those are."""
    from lexor.cli.console import print_weights
    from lexor.errors import WeightsError
    from lexor.models.inventory import list_weights as run
    from lexor.models.weights import weight_folders

    try:
        print_weights(run())
    except WeightsError as problem:
        raise failure(problem) from None
    say("looked in " + ", ".join(str(folder) for folder in weight_folders()))


@app.command()
def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Weights, or folders of them; all that are found, if none.")
    ] = None,
) -> None:
    """Compare weights with the manifest beside them. Exit status 1: some are not what it says."""
    from lexor.errors import WeightsError
    from lexor.models.inventory import verify_all, weights_in

    try:
        found = weights_in(paths)
    except WeightsError as problem:
        raise failure(problem) from None
    bad = 0
    for path, fault in verify_all(found):
        say(f"{path}: as the manifest says" if fault is None else f"FAILED: {fault}")
        bad += fault is not None
    if bad:
        say(f"{bad} of {len(found)} files are not what their manifest says", err=True)
        raise typer.Exit(1)
