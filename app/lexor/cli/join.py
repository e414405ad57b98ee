"""`lexor join`: put the shards of a weights file together again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import failure


def join(
    index: Annotated[Path, typer.Argument(help="NAME.safetensors.index.json, its shards beside it.")],
    weights: Annotated[Path, typer.Argument(help="File to write.")],
) -> None:
    """Put shards of weights together again."""
    from lexor.errors import WeightsError
    from lexor.models.shards import join_weights

    try:
        typer.echo(join_weights(index, weights))
    except (WeightsError, OSError) as problem:
        raise failure(problem) from None
