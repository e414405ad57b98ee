"""`lexor models`: list the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.options import (
    Device,
    DeviceOption,
    failure,
)
from lexor.cli.output import say

if TYPE_CHECKING:
    pass


def models(
    measure: Annotated[
        bool, typer.Option("--measure", help="Run each on a window with a box: GFLOPs and seconds, too.")
    ] = False,
    device: DeviceOption = Device.AUTO,
) -> None:
    """List the models, those with weights first.

    Parameters, weights, licence, and the scores on their card.
    """
    from lexor.cli.console import print_models
    from lexor.errors import WeightsError
    from lexor.models.factory import list_models

    try:
        found = list_models()
        measures = []
        if measure:
            from lexor.inference.runner import choose_device
            from lexor.models.measure import measure_models

            measures = list(measure_models(device=choose_device(device.value).type))
    except (WeightsError, ValueError) as problem:
        raise failure(problem) from None
    ready = [model.name for model in found if model.bundled]
    say(
        f"{len(ready)} of {len(found)} models have weights: {', '.join(ready)}. Train the others, or import weights."
    )
    print_models(found, measures)
