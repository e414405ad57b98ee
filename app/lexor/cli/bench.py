"""Commands that time one way of doing a thing against another in the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexor.cli.options import Device, DeviceOption, ModelOption, check_folders, failure
from lexor.cli.output import say

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
        if dtype not in ("uint8", "int16", "float32"):
            raise ValueError(f"dtype is {dtype!r}; give uint8, int16 or float32")
        typer.echo(f"{shape} {dtype}, {model}, device {device.value}")
        waits = bench_server(_shape(shape), dtype, objects, clicks, model, device.value)
        for line in waits.lines():
            typer.echo(line)
        if reference:
            seconds = seconds_of_a_pass()
            box = sorted(waits.seconds["box"])[len(waits.seconds["box"]) // 2]
            what = "a pass of nnInteractive's shape"
            typer.echo(f"{what:32}{seconds:8.2f} s: {seconds / box:.1f} times a box")
    except (ValueError, RuntimeError, OSError) as problem:
        raise failure(problem) from None


@app.command()
def predict(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            help="one, classes, objects, clicks, none, crop, large, sequence, folder; all, if none."
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="Of a case: slices x rows x columns.")] = "96x256x256",
    large: Annotated[str, typer.Option(help="Of the kind `large`.")] = "600x512x512",
    classes: Annotated[int, typer.Option(min=1, help="Boxes of the kind `classes`.")] = 15,
    objects: Annotated[int, typer.Option(min=1, help="Boxes of the kind `objects`.")] = 300,
    count: Annotated[int, typer.Option(min=1, help="Cases of the kinds `sequence` and `folder`.")] = 20,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is predicted; the fastest counts.")] = 3,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    out: Annotated[Path | None, typer.Option(help="Also write all figures to this JSON file.")] = None,
) -> None:
    """Time whole predictions from file to file: by stage, with peak memory, each beside a named baseline."""
    from lexor.bench.cases import Sizes
    from lexor.bench.predict import Settings, bench_predict, report
    from lexor.bench.report import predict_header, predict_row, write_report
    from lexor.errors import CaseError, WeightsError

    try:
        check_folders(out)
        sizes = Sizes(_shape(size), _shape(large), classes, objects, count)
        settings = Settings(model, device.value, repeats, sizes)
        rows = []
        for row in bench_predict(kinds or [], settings):
            rows.append(row)
            found = report(rows, settings)
            if len(rows) == 1:
                typer.echo(predict_header(found))
            typer.echo(predict_row(found["rows"][-1]))
            if out is not None:
                write_report(out, found)
    except (CaseError, WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None


@app.command()
def gpu(
    out: Annotated[Path, typer.Argument(help="The JSON file to write; `lexor bench report` prints it.")],
    device: Annotated[Device, typer.Option(help="cpu rehearses everything in a shorter form.")] = Device.CUDA,
    cases: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of challenge cases, whose prompts are compared; repeatable."),
    ] = None,
    tests: Annotated[
        Path | None, typer.Option(help="The project's folder of tests, of which those of the GPU run.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Of training; 0: none.")] = 1.0,
) -> None:
    """Check a GPU in one go: exact boxes, prompts, cases, training and tests, all figures in one file.

    Exit status 0: all is well; 1: a step failed, the file says which; 2: nothing could be run.
    """
    from lexor.bench.gpu import Check, gpu_check, rehearsal
    from lexor.bench.report import describe
    from lexor.inference.runner import choose_device

    try:
        check_folders(out)
        chosen = choose_device(device.value).type
        check = Check(device=chosen, cases=tuple(cases or ()), tests=tests, minutes=minutes)
        found = gpu_check(
            check if chosen == "cuda" else rehearsal(check), out, lambda line: say(line, err=True)
        )
    except (ValueError, OSError) as problem:
        raise failure(problem) from None
    for line in describe(found).splitlines():
        say(line)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command("report")
def report_(
    file: Annotated[Path, typer.Argument(help="A JSON file of `bench predict` or `bench gpu`.")],
) -> None:
    """Print the figures that a bench left in a file."""
    from lexor.bench.report import describe, read_report
    from lexor.errors import CaseError

    try:
        text = describe(read_report(file))
    except CaseError as problem:
        raise failure(problem) from None
    for line in text.splitlines():
        say(line)


def _shape(text: str) -> tuple[int, int, int]:
    """(D, H, W) of `DxHxW`; raises ValueError where it is no such text."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) <= 4096 for part in parts):
        raise ValueError(f"size is {text!r}; give slices x rows x columns, such as 96x256x256")
    z, y, x = map(int, parts)
    return z, y, x
