"""`lexor export`: write a run's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import failure


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    weights: Annotated[Path, typer.Argument(help="File to write, like weights/mobilenet3d.safetensors.")],
    licence: Annotated[str, typer.Option(help="Of the weights: the most demanding of the data's, SPDX.")],
    mean_with: Annotated[
        Path | None, typer.Option(help="Write the mean with these weights of the same model.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of those weights in the mean; 0.5 where left out.")
    ] = None,
    certainty: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the correction that answers without a click keep."),
    ] = 1.0,
    shard_mb: Annotated[
        float | None, typer.Option(help="Write shards of at most so many MB beside it, too.")
    ] = None,
) -> None:
    """Write a run's weights with their card. The averaged weights, in half precision, and their manifest entry."""
    from lexor.errors import WeightsError
    from lexor.models.shards import split_weights
    from lexor.training.config import TrainingError
    from lexor.training.export import export as write

    try:
        entry = write(run, weights, licence=licence, mean_with=mean_with, share=share, certainty=certainty)
        shards = split_weights(weights, weights.parent, int(shard_mb * 1e6)) if shard_mb else []
    except (TrainingError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    typer.echo(f"{weights}: {entry.bytes / 1e6:.1f} MB, {entry.architecture}, sha256 {entry.sha256}")
    for shard in shards:
        typer.echo(f"{shard}: {shard.stat().st_size / 1e6:.1f} MB")
