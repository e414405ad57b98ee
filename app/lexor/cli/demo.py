"""`lexor demo`: segment three real cases and draw the answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.options import (
    Device,
    DeviceOption,
    ModelOption,
    failure,
    make_predictor,
)
from lexor.cli.output import say

if TYPE_CHECKING:
    pass


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to leave cases, masks and the picture.")] = Path(
        "demo"
    ),
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
) -> None:
    """Segment three real cases and draw the answers.

    They come with Lexor, and are answered from their boxes and from no prompt.
    """
    from lexor.errors import WeightsError
    from lexor.inference.batch import predict_files
    from lexor.viewing.demo import copy_cases, draw_demo

    given, automatic = folder / "outputs", folder / "outputs-no-prompt"
    try:
        predictor = make_predictor(model, device)
        sources = copy_cases(folder / "inputs")
        boxed = list(predict_files(sources, given, predictor))
        unprompted = list(predict_files(sources, automatic, predictor, "auto"))
        outcomes = [outcome for pair in zip(boxed, unprompted, strict=True) for outcome in pair]
        for outcome in outcomes:
            say(outcome.summary())
        if any(outcome.error for outcome in outcomes):
            raise typer.Exit(1)
        picture = draw_demo(boxed, unprompted, folder / "preview.png")
    except (WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    say(f"masks: {given}/ from boxes, {automatic}/ from no prompt")
    say(f"picture: {picture}")
