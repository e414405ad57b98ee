"""`lexor synth`: write synthetic cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import failure


def synth(
    folder: Annotated[Path, typer.Argument(help="Where cases and the picture are written.")],
    count: Annotated[int, typer.Option(min=1, help="Number of cases.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Of the first case.")] = 0,
    style: Annotated[
        str | None, typer.Option(help="CT, MR, PET, US or Microscopy; all if not given.")
    ] = None,
) -> None:
    """Write synthetic cases, and a contact sheet. They are what training sees."""
    from lexor.training.contact_sheet import draw_scenes
    from lexor.training.synth import read_scene, write_scenes

    try:
        paths = write_scenes(folder, count, seed, style)
        sheet = draw_scenes([read_scene(p) for p in paths], folder / "sheet.png", [p.stem for p in paths])
    except (ValueError, OSError) as problem:
        raise failure(problem) from None
    typer.echo(f"{folder}: {len(paths)} cases; contact sheet: {sheet}")
