"""`lexor pack`: put labelled cases into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import failure


def pack(
    data: Annotated[
        Path, typer.Argument(help="Folder of labelled .npz cases, or of a data set in nnU-Net's layout.")
    ],
    file: Annotated[Path, typer.Argument(help="The packed file to write; --data takes it.")],
    limit_mb: Annotated[float, typer.Option(help="Largest size, MB; voxels lose low bits to keep it.")] = 50,
) -> None:
    """Pack labelled cases into one small file. It can be trained on where no folder can be had."""
    from lexor.training.config import TrainingError
    from lexor.training.pack import pack as run

    try:
        packed = run(data, file, int(limit_mb * 1e6))
    except (TrainingError, ValueError, OSError) as problem:
        raise failure(problem) from None
    for problem_line in packed.problems:
        typer.echo(f"warning: {problem_line}; the case is left out", err=True)
    typer.echo(f"{file}: {packed.cases} cases, {packed.bytes / 1e6:.1f} MB, {packed.bits} bits a voxel")
