"""What commands share: options, and how a command ends that cannot do its work."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.debug import show_traceback
from lexor.cli.output import say
from lexor.errors import shown

if TYPE_CHECKING:
    from lexor.inference.predictor import Predictor
    from lexor.io.given import GivenPrompts
    from lexor.io.reading import Reading


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


class Format(StrEnum):
    """Of what is written."""

    NIFTI = "nifti"
    NRRD = "nrrd"
    MHA = "mha"
    TIFF = "tiff"
    NPZ = "npz"
    DICOM_SEG = "dicom-seg"
    RTSTRUCT = "rtstruct"


class Modality(StrEnum):
    """Of a scan."""

    CT = "CT"
    MR = "MR"
    PET = "PET"
    US = "US"
    MICROSCOPY = "Microscopy"


class MaskAs(StrEnum):
    """What a mask stands for."""

    BOX = "box"
    PREVIOUS = "previous"


LabelmapOption = Annotated[
    bool,
    typer.Option("--labelmap", help="DICOM-SEG of the newer kind LABELMAP; else BINARY, which all can read."),
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        "--series", help="Of DICOM, if there are several: number, UID, or a word of the description."
    ),
]
FrameOption = Annotated[
    int | None,
    typer.Option("--frame", min=0, help="Which volume of several in one file, from 0 (4D, channels)."),
]


def _modality(given: str) -> Modality:
    """A modality by any of its names, as in names of scans: MRI, PT, ultrasound, in small or capital letters."""
    from lexor.io.scans.names import modality_of

    # A modality is one word; a scan's name may be more.
    found = modality_of(given) if given.isalnum() else None
    if found is None:
        raise typer.BadParameter(f"{shown(given)} is not one of {', '.join(Modality)}.")
    return Modality(found)


ModalityOption = Annotated[
    Modality | None,
    typer.Option(
        "--modality",
        help="In place of what the file or its name says.",
        parser=_modality,
        metavar=f"[{'|'.join(Modality)}]",
        autocompletion=lambda: [one.value for one in Modality],
    ),
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        help="What a CT shows: soft-tissue (400,40: the default), lung (1500,-160), brain (80,40), bone (1800,400), "
        "or WIDTH,LEVEL in HU. Other scans go by their percentiles.",
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        help="Z0,Y0,X0,Z1,Y1,X1: two corners of an object's box, both inside, as voxels of the array. Repeatable: "
        "each is one class.",
    ),
]
ClickOption = Annotated[
    list[str] | None,
    typer.Option(
        "--click", help="Z,Y,X: a voxel of the object; CLASS:Z,Y,X where there are several. Repeatable."
    ),
]
BackgroundOption = Annotated[
    list[str] | None, typer.Option("--background", help="Z,Y,X: a voxel beside the object; as --click.")
]
WorldOption = Annotated[
    bool,
    typer.Option(
        "--world",
        help="--box, --click and --background are millimetres in the order X,Y,Z: RAS for NIfTI, LPS for DICOM and "
        "all others.",
    ),
]
PromptsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--prompts",
        help="Prompts from a file: our JSON (docs/scans.md), or 3D Slicer's .mrk.json of points and ROIs. "
        "Repeatable. Or a folder with NAME.json for each scan.",
    ),
]
FromMaskOption = Annotated[
    Path | None,
    typer.Option(
        "--from-mask",
        help="Labels on the scan's grid, in any format: each becomes a box. Or a folder with one for each scan.",
    ),
]
MaskAsOption = Annotated[
    MaskAs,
    typer.Option("--mask-as", help="box: see --from-mask. previous: an answer to be improved by clicks."),
]
NameOption = Annotated[
    list[str] | None, typer.Option("--name", help="What the next class is called, in DICOM. Repeatable.")
]
LabelsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        help="Folder with the labels of a folder of scans, by the scans' names; on the scans' grid.",
    ),
]


def reading_of(
    series: str | None,
    frame: int | None,
    modality: Modality | None,
    window: str | None,
    names: list[str] | None,
    prompts: GivenPrompts | None = None,
) -> Reading:
    """How sources are read. Raises CaseError where there is no such window."""
    from lexor.io.given import GivenPrompts
    from lexor.io.reading import Reading
    from lexor.io.scan import window_of

    if window is not None:
        window_of(window)
    return Reading(
        series,
        frame,
        None if modality is None else modality.value,
        window,
        prompts or GivenPrompts(),
        tuple(names or ()),
    )


def prompts_of(
    box: list[str] | None,
    click: list[str] | None,
    background: list[str] | None,
    world: bool,
    files: list[Path] | None,
    mask: Path | None,
    mask_as: MaskAs,
) -> GivenPrompts:
    """What the options of prompts ask for."""
    from lexor.io.given import GivenPrompts

    texts = (tuple(box or ()), tuple(click or ()), tuple(background or ()))
    return GivenPrompts(*texts, world, tuple(files or ()), mask, mask_as.value)


def check_folders(*files: Path | None, made: Path | None = None) -> None:
    """That files can be written where they are asked for, before hours of work are spent on them.

    Args:
        made: a folder that the command makes itself.

    Raises:
        OSError: the folder of one is not there.
    """
    for file in files:
        if file is not None and file.parent != made and not file.parent.is_dir():
            raise FileNotFoundError(f"{file}: there is no folder {file.parent}; make it, or give another")


def failure(message: object) -> typer.Exit:
    """To be raised: exit status 2, after one line on standard error."""
    show_traceback()
    say(f"error: {message}", err=True)
    return typer.Exit(2)


def make_predictor(model: str, device: Device, weights: Path | None = None) -> Predictor:
    from lexor.inference.predictor import Predictor

    return Predictor(model=model, device=device.value, weights=weights)
