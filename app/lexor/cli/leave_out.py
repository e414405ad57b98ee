"""`lexor leave-out`: train without some sources, and score on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lexor.cli.options import Device, check_folders, failure


def leave_out(
    config: Annotated[str, typer.Argument(help="A YAML file or preset, as `train` takes it.")],
    data: Annotated[list[Path], typer.Option(help="Folder of labelled .npz cases; repeatable.")],
    sources: Annotated[
        list[str],
        typer.Option(help="A turn: sources to leave out together, like CT_ibsi,MR_ibsi; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/leave-out"),
    device: Annotated[Device, typer.Option(help="auto: the GPU where there is one.")] = Device.AUTO,
    devices: Annotated[int | None, typer.Option(min=1, help="Training processes, one a device.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of each run.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Budget of each run, in steps.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights to start from, that have not seen the sources.")
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help="At most so many a turn, each from what the last one left.")
    ] = 1,
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of its start in what a run leaves; 0.5 if not given.")
    ] = None,
    patience: Annotated[
        int, typer.Option(min=1, help="A turn ends when so many runs on end brought no higher score.")
    ] = 2,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write a row per label, of each turn's best run.")
    ] = None,
) -> None:
    """Train without some sources, and score on them. It stops when that no longer rises."""
    from lexor.errors import CaseError
    from lexor.evaluation.tables import modality_table, tables_of, write_rows
    from lexor.training.config import TrainingError, load_config
    from lexor.training.leave_out import LeftOut, leave_out_scores
    from lexor.training.means import SHARE

    given: dict[str, Any] = {
        "data.paths": [str(path) for path in data],
        "devices": devices,
        "budget.minutes": minutes,
        "budget.steps": steps,
        "model.start": start,
    }
    best: dict[tuple[str, ...], LeftOut] = {}
    try:
        check_folders(csv)
        settings = load_config(config, {key: value for key, value in given.items() if value is not None})
        turns = [turn.split(",") for turn in sources]
        share = SHARE if share is None else share
        scores = leave_out_scores(
            settings, out, turns, runs, share=share, patience=patience, device=device.value
        )
        for found in scores:
            typer.echo(
                f"{', '.join(found.sources)}: run {found.run}, {len(found.rows)} labels, {found.samples} samples, "
                f"{found.minutes:.1f} minutes, DSC {found.score:.3f} (macro over modalities)"
            )
            typer.echo(f"\n{modality_table(found.rows)}\n")
            if found.sources not in best or found.score > best[found.sources].score:
                best[found.sources] = found
        for sources_left, found in best.items():
            typer.echo(f"{', '.join(sources_left)}: best is run {found.run}, {found.weights}")
        rows = [row for found in best.values() for row in found.rows]
        if csv is not None:
            write_rows(csv, rows)
    except (TrainingError, CaseError, ValueError, OSError, ImportError) as problem:
        raise failure(problem) from None
    for table in tables_of(rows, "all"):
        typer.echo(f"\n{table}")
