"""`lexor retrain`: make a weights file again, as its card says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import Device, failure


def retrain(
    card: Annotated[Path, typer.Argument(help="Of the weights, like weights/mobilenet3d.json.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of labelled .npz cases, or a packed file; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs; runs/retrain/CARD if not given.")
    ] = None,
    device: Annotated[Device, typer.Option(help="auto: the GPU where there is one.")] = Device.AUTO,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Training processes, in place of the card's.")
    ] = None,
) -> None:
    """Make weights again, as their card says. Where it was stopped, it goes on."""
    from lexor.errors import WeightsError
    from lexor.training.config import TrainingError
    from lexor.training.retrain import data_differ
    from lexor.training.retrain import retrain as run

    out = out or Path("runs") / "retrain" / card.stem
    try:
        if data_differ(card, data or []):
            if not data:
                raise TrainingError(f"{card}: was trained on cases; give --data FOLDER, or a packed file")
            typer.echo(f"warning: {card}: was trained on other cases than these: sha256 differs", err=True)
        weights, entry = run(card, data or [], out, device=device.value, devices=devices)
    except (TrainingError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    typer.echo(f"{weights}: {entry.bytes / 1e6:.1f} MB, {entry.architecture}, sha256 {entry.sha256}")
