"""`lexor evaluate`: score the challenge's protocol."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.options import (
    Device,
    DeviceOption,
    ModalityOption,
    ModelOption,
    Prompt,
    WeightsOption,
    WindowOption,
    check_folders,
    failure,
    make_predictor,
)
from lexor.cli.output import say

if TYPE_CHECKING:
    pass


class By(StrEnum):
    """Which tables `evaluate` prints."""

    MODALITY = "modality"
    STRATUM = "stratum"
    SOURCE = "source"
    ALL = "all"


def evaluate(
    inputs: Annotated[
        Path,
        typer.Argument(
            help="Folder of challenge .npz files, with `gts` or --gts; of scans, with --labels; or of a data set in "
            "nnU-Net's layout."
        ),
    ],
    gts: Annotated[
        Path | None,
        typer.Option(
            "--gts", help="Folder of .npz files of the same names that hold `gts`, as organisers keep it."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Folder with the labels of a folder of scans, by the scans' names."),
    ] = None,
    modality: ModalityOption = None,
    window: WindowOption = None,
    clicks: Annotated[
        int | None,
        typer.Option(
            "--clicks",
            min=0,
            help="Rounds of corrective clicks, 5 if not given. 0: score the answers to boxes only.",
        ),
    ] = None,
    boxes: Annotated[
        bool,
        typer.Option(
            "--boxes/--no-boxes", help="--no-boxes withholds the boxes: the first run has one click."
        ),
    ] = True,
    prompt: Annotated[
        Prompt,
        typer.Option(
            "--prompt",
            help="auto, intensity: also score such automatic boxes beside the given ones, without clicks.",
        ),
    ] = Prompt.GIVEN,
    top: Annotated[
        int,
        typer.Option(
            "--top", min=1, help="Also score the best of so many automatic targets, beside the first."
        ),
    ] = 1,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    weights: WeightsOption = None,
    sources: Annotated[
        str | None,
        typer.Option("--sources", help="Only these sources (data sets), e.g. CT_openkbp,US_deepreg."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many cases of each source.")
    ] = None,
    by: Annotated[
        By, typer.Option("--by", help="How to group the tables of the answers to boxes.")
    ] = By.MODALITY,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write a row per case, as the organisers' CSV, and a .jsonl from which to go on."
        ),
    ] = None,
    label_csv: Annotated[
        Path | None, typer.Option("--label-csv", help="Write a row per label, of the answers to boxes.")
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write the means, as a weights' card holds them.")
    ] = None,
    loosen: Annotated[
        bool | None,
        typer.Option(
            "--loosen/--as-given",
            help="Loosen the boxes by the challenge's rule, or not. Default: loosen, except with --gts.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of the loosening of boxes, and of the cases that --limit draws.")
    ] = 7,
) -> None:
    """Score the challenge's protocol on labelled cases.

    First come answers to boxes, beside three answers that need no model. Then come rounds of clicks.
    """
    from lexor.cli.console import progress
    from lexor.errors import CaseError, WeightsError
    from lexor.evaluation.cases import choose_cases
    from lexor.evaluation.evaluate import Settings, evaluate_cases, identity
    from lexor.evaluation.report import report_of, write_files
    from lexor.evaluation.results import CaseResult, Record
    from lexor.evaluation.rounds import CLICKS
    from lexor.inference.batch import find_cases
    from lexor.io.pairs import DATASET, Source, labelled_in

    wanted = [name.strip() for name in (sources or "").split(",") if name.strip()]
    if clicks and prompt is not Prompt.GIVEN:
        raise failure(f"--clicks {clicks}: automatic prompts are scored without clicks; leave it out")
    rounds = CLICKS if prompt is Prompt.GIVEN else 0
    settings = Settings(
        clicks=rounds if clicks is None else clicks,
        boxes=boxes,
        prompt=prompt.value,
        top=top,
        loosen=gts is None if loosen is None else loosen,
        seed=seed,
    )
    results: list[CaseResult] = []
    try:
        check_folders(csv, label_csv, as_json)
        if gts is not None and not gts.is_dir():
            raise CaseError(f"--gts {gts}: no such folder; give the one that holds the truths")
        if labels is None and not (inputs / DATASET).is_file():
            found: list[Source] = [*find_cases(inputs)]
        else:
            found, notes = labelled_in(inputs, labels, modality and modality.value, window)
            for note in notes:
                say(f"warning: {note}", err=True)
        chosen = choose_cases(found, wanted, limit, seed)
        predictor = make_predictor(model, device, weights)
        record = Record(csv and csv.with_suffix(".jsonl"), identity(predictor, settings, found, gts))
        with progress(len(chosen)) as advance:
            for result in evaluate_cases(found, predictor, settings, record, chosen, gts):
                advance(result.summary())
                if isinstance(result, CaseResult):
                    results.append(result)
                    write_files(results, settings, csv)
        write_files(results, settings, csv, label_csv, as_json)
    except (CaseError, WeightsError, ValueError, OSError, ImportError) as problem:
        raise failure(problem) from None
    for table in report_of(results, settings, by.value):
        for line in ("", *table.split("\n")):
            say(line)
    if len(results) < len(chosen):
        say(f"{len(chosen) - len(results)} of {len(chosen)} cases could not be scored", err=True)
        raise typer.Exit(1)
