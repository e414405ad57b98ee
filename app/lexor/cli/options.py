"""What commands share: options, and how a command ends that cannot do its work."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.debug import show_traceback
from lexor.cli.output import say

if TYPE_CHECKING:
    from lexor.inference.predictor import Predictor


class Device(StrEnum):
    """Where models run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


ModelOption = Annotated[str, typer.Option("--model", help="A model of `lexor models`.")]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="auto: the GPU where there is one, else the CPU.")
]
TopOption = Annotated[int, typer.Option("--top", min=1, help="How many automatic objects, best first.")]


class Prompt(StrEnum):
    """Where prompts come from."""

    GIVEN = "given"
    INTENSITY = "intensity"
    AUTO = "auto"


PromptOption = Annotated[
    Prompt,
    typer.Option(
        "--prompt",
        help="given: the case's own prompts; automatic ones where it has none. auto: segment candidate boxes, and "
        "keep the best. intensity: the box of the paper's Algorithm 1.",
    ),
]


WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="A .safetensors file instead of the bundled weights.")
]


LabelsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        help="Folder with the labels of a folder of scans, by the scans' names; on the scans' grid.",
    ),
]
ModalityOption = Annotated[
    str | None,
    typer.Option("--modality", help="Of scans that do not say it: CT, MR, PET, US or Microscopy."),
]
WindowOption = Annotated[
    str | None,
    typer.Option("--window", help="Of CT: soft-tissue, lung, brain, bone, or WIDTH,LEVEL in HU."),
]


def check_folders(*files: Path | None) -> None:
    """That files can be written where they are asked for, before hours of work are spent on them.

    Raises:
        OSError: the folder of one is not there.
    """
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"{file}: there is no folder {file.parent}; make it, or give another")


def failure(message: object) -> typer.Exit:
    """To be raised: exit status 2, after one line on standard error."""
    show_traceback()
    say(f"error: {message}", err=True)
    return typer.Exit(2)


def make_predictor(model: str, device: Device, weights: Path | None = None) -> Predictor:
    from lexor.inference.predictor import Predictor

    return Predictor(model=model, device=device.value, weights=weights)
