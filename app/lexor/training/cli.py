"""Commands of training: parse, call the library, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lexor._commands import Device, check_folders, failure

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
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
        list[Path] | None, typer.Option(help="Folder of labelled .npz cases, or a packed file; repeatable.")
    ] = None,
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
    """Train a model for a budget of minutes or steps. Ctrl-C saves; --resume goes on."""
    from lexor._errors import WeightsError
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


@app.command()
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
    """Make weights again: every run of their card in turn. Where it was stopped, it goes on."""
    from lexor._errors import WeightsError
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


@app.command()
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
    """Score on unseen sources: train without some in turn, score on them, stop when that no longer rises."""
    from lexor.case import CaseError
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


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Where cases and the picture are written.")],
    count: Annotated[int, typer.Option(min=1, help="Number of cases.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Of the first case.")] = 0,
    style: Annotated[
        str | None, typer.Option(help="CT, MR, PET, US or Microscopy; all if not given.")
    ] = None,
) -> None:
    """Write synthetic cases as training sees them, and a contact sheet of them."""
    from lexor.training.synth import read_scene, write_scenes
    from lexor.viewing.contact_sheet import draw_scenes

    try:
        paths = write_scenes(folder, count, seed, style)
        sheet = draw_scenes([read_scene(p) for p in paths], folder / "sheet.png", [p.stem for p in paths])
    except (ValueError, OSError) as problem:
        raise failure(problem) from None
    typer.echo(f"{folder}: {len(paths)} cases; contact sheet: {sheet}")


@app.command()
def pack(
    data: Annotated[Path, typer.Argument(help="Folder of labelled .npz cases.")],
    file: Annotated[Path, typer.Argument(help="The packed file to write; --data takes it.")],
    limit_mb: Annotated[float, typer.Option(help="Largest size, MB; voxels lose low bits to keep it.")] = 50,
) -> None:
    """Pack labelled cases into one small file, to train where no folder can be had."""
    from lexor.training.config import TrainingError
    from lexor.training.pack import pack as run

    try:
        packed = run(data, file, int(limit_mb * 1e6))
    except (TrainingError, ValueError, OSError) as problem:
        raise failure(problem) from None
    for problem_line in packed.problems:
        typer.echo(f"warning: {problem_line}; the case is left out", err=True)
    typer.echo(f"{file}: {packed.cases} cases, {packed.bytes / 1e6:.1f} MB, {packed.bits} bits a voxel")


@app.command()
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
    """Write a run's averaged weights in half precision, with their card and manifest entry."""
    from lexor._errors import WeightsError
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


@app.command()
def join(
    index: Annotated[Path, typer.Argument(help="NAME.safetensors.index.json, its shards beside it.")],
    weights: Annotated[Path, typer.Argument(help="File to write.")],
) -> None:
    """Put the shards of a weights file together again."""
    from lexor._errors import WeightsError
    from lexor.models.shards import join_weights

    try:
        typer.echo(join_weights(index, weights))
    except (WeightsError, OSError) as problem:
        raise failure(problem) from None


if __name__ == "__main__":
    app()
