"""`lexor train`: train a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lexor.cli.options import Device, LabelsOption, ModalityOption, WindowOption, failure


def train(
    config: Annotated[
        str, typer.Argument(help="A YAML file, or mobilenet3d, vit_s, segvol_vit_s, encoders, paper, smoke.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/CONFIG if not given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    device: Annotated[Device, typer.Option(help="auto: the GPU where there is one.")] = Device.AUTO,
    devices: Annotated[int | None, typer.Option(min=1, help="Training processes, one a device.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Sample makers of each.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples a step, in each process.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of the whole run.")] = None,
    session: Annotated[float | None, typer.Option(help="Save and stop after so many minutes.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Budget of the whole run, in steps.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of labelled .npz cases, of scans (with --labels), or of a data set in nnU-Net's layout; "
            "or a packed file; repeatable."
        ),
    ] = None,
    labels: LabelsOption = None,
    modality: ModalityOption = None,
    window: WindowOption = None,
    model: Annotated[str | None, typer.Option(help="Another model of the family by the same recipe.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Share of each source: 0.1 for the coreset.")] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Source not to train on, like CT_openkbp; repeatable.")
    ] = None,
    real: Annotated[float | None, typer.Option(help="Share of samples from real cases.")] = None,
    rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights (.safetensors) to start from.")] = None,
    start_model: Annotated[
        str | None, typer.Option(help="Whose weights these are, if another model's: it lends what both have.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
) -> None:
    """Train a model for some minutes or steps. Ctrl-C saves; --resume goes on."""
    from lexor.errors import WeightsError
    from lexor.training.config import TrainingError, load_config
    from lexor.training.loop import train as run

    given: dict[str, Any] = {
        "devices": devices,
        "workers": workers,
        "batch": batch,
        "budget.minutes": minutes,
        "budget.session_minutes": session,
        "budget.steps": steps,
        "data.paths": [str(path) for path in data] if data else None,
        "data.labels": [str(path) for path in labels] if labels else None,
        "data.modality": None if modality is None else modality.value,
        "data.window": window,
        "model.name": model,
        "data.fraction": fraction,
        "data.leave_out": leave_out or None,
        "mix.real": real,
        "optimiser.rate": rate,
        "model.start": start,
        "model.start_model": start_model,
        "seed": seed,
    }
    out = out or Path("runs") / Path(config).stem
    try:
        settings = load_config(config, {key: value for key, value in given.items() if value is not None})
        if settings.mix.real and not settings.data.paths:
            raise TrainingError(
                f"data.paths: none, where mix.real is {settings.mix.real}; give --data FOLDER, or --real 0 to train "
                "on synthetic scenes alone"
            )
        if settings.data.paths and not settings.mix.real:
            raise TrainingError(
                "data.paths: mix.real is 0, no case would be seen; give --real 0.4, or no --data"
            )
        state = run(settings, out, resume=resume, device=device.value)
    except (TrainingError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    typer.echo(f"{out}: step {state.step}, {state.samples} samples, {state.seconds / 60:.1f} minutes")
