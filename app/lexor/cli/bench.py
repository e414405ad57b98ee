"""Commands that time one way of doing a thing against another in the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import Device, DeviceOption, ModelOption, failure

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def prompts(
    cases: Annotated[
        list[Path] | None, typer.Argument(help="Challenge .npz files; made-up CT volumes, if none.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is run; the fastest counts.")] = 3,
    top: Annotated[int, typer.Option("--top", min=1, help="How many boxes.")] = 1,
    device: Annotated[Device, typer.Option(help="Of Lexor; the textbook's is the CPU.")] = Device.CPU,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Measure peak memory, too.")] = True,
) -> None:
    """Time the automatic prompt (paper section 2.3) against SciPy's routines one after the other.

    Exit status 0: every box is the textbook's; 1: some are not; 2: nothing could be run.
    """
    from lexor.bench import phantoms
    from lexor.bench.prompting import compare, describe
    from lexor.errors import CaseError
    from lexor.io.case import read_case

    same = True
    try:
        for item in cases or phantoms.SHAPES:
            if isinstance(item, Path):
                name, volume = item.name, read_case(item).volume
            else:
                name, volume = "phantom", phantoms.body(item)
            comparison = compare(name, volume, repeats, top, device.value, memory)
            typer.echo(describe(comparison))
            same &= comparison.same
    except (CaseError, ValueError, OSError) as problem:
        raise failure(problem) from None
    if not same:
        typer.echo("error: not every box is the textbook's", err=True)
        raise typer.Exit(1)


@app.command()
def segvol(
    model: Annotated[str, typer.Option(help="A model of the SegVol framework.")] = "segvol_vit_b",
    weights: Annotated[Path | None, typer.Option(help="Its .safetensors file; random if left out.")] = None,
    device: Annotated[Device, typer.Option(help="auto: the GPU where there is one.")] = Device.AUTO,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; torch's choice if left out.")
    ] = None,
) -> None:
    """Time six boxes in a 30x101x122 volume: the image encoded once, against once per class."""
    import torch

    from lexor.bench.segvol import BOXES, SHAPE, bench_segvol
    from lexor.errors import WeightsError

    if threads is not None:
        torch.set_num_threads(threads)
    kind = "random weights" if weights is None else str(weights)
    shape = "x".join(str(n) for n in SHAPE)
    typer.echo(f"{model}, {kind}: {shape} voxels, {BOXES} boxes, {torch.get_num_threads()} CPU threads")
    base = None
    try:
        for timing in bench_segvol(model, weights, device.value):
            base = base or timing
            typer.echo(
                f"{timing.way:32}{timing.seconds:8.2f} s {timing.cpu_seconds:8.2f} CPU s"
                f"{base.cpu_seconds / timing.cpu_seconds:8.2f} times as fast by CPU time,"
                f"{base.seconds / timing.seconds:6.2f} by the clock"
            )
    except (WeightsError, ValueError) as problem:
        raise failure(problem) from None


@app.command()
def serve(
    shape: Annotated[str, typer.Option(help="Of the volume, slices x rows x columns.")] = "160x512x512",
    dtype: Annotated[str, typer.Option(help="As which it is sent: uint8, int16 or float32.")] = "uint8",
    objects: Annotated[int, typer.Option(min=1, max=40, help="How many are segmented.")] = 4,
    clicks: Annotated[
        bool, typer.Option("--clicks/--boxes-alone", help="Also segment each without a box.")
    ] = True,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    reference: Annotated[
        bool, typer.Option("--reference/--no-reference", help="Also time a pass of nnInteractive's network.")
    ] = False,
) -> None:
    """Time `lexor serve` through nnInteractive's client: upload, clicks, boxes, memory.

    --reference times one pass of a network of nnInteractive's shape on the CPU, with random weights, in the same run.
    """
    from lexor.bench.resenc import seconds_of_a_pass
    from lexor.bench.serving import bench_server

    try:
        depth, height, width = (int(part) for part in shape.split("x"))
        if min(depth, height, width) < 1 or dtype not in ("uint8", "int16", "float32"):
            raise ValueError
    except ValueError:
        raise failure(
            f"--shape {shape} --dtype {dtype}: give for example 160x512x512, and uint8, int16 or float32"
        ) from None
    try:
        typer.echo(f"{shape} {dtype}, {model}, device {device.value}")
        waits = bench_server((depth, height, width), dtype, objects, clicks, model, device.value)
        for line in waits.lines():
            typer.echo(line)
        if reference:
            seconds = seconds_of_a_pass()
            box = sorted(waits.seconds["box"])[len(waits.seconds["box"]) // 2]
            what = "a pass of nnInteractive's shape"
            typer.echo(f"{what:32}{seconds:8.2f} s: {seconds / box:.1f} times a box")
    except (ValueError, RuntimeError, OSError) as problem:
        raise failure(problem) from None
