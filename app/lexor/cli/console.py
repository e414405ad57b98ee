"""Terminal output: a bar where someone watches, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lexor.cli.output import say
from lexor.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from lexor.models.factory import ModelInfo
    from lexor.models.inventory import Found
    from lexor.models.measure import Measure


class Advance:
    """Prints a line per finished item, if there are to be lines, and moves the bar, if there is one."""

    def __init__(self, console: Console | None, bar: Progress | None, total: int, lines: bool = True) -> None:
        self._console = console
        self._bar = bar
        self._lines = lines
        self._task = bar.add_task("cases", total=total) if bar else None

    def __call__(self, line: str) -> None:
        """One item is done."""
        self.note(line)
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def note(self, line: str) -> None:
        """A line that belongs to the item at hand."""
        if not self._lines:
            return
        if self._console is None:
            say(line)
        else:
            from rich.text import Text

            self._console.print(Text(printable(line)), soft_wrap=True)


@contextlib.contextmanager
def progress(total: int, lines: bool = True) -> Iterator[Advance]:
    """A progress bar over `total` items on a terminal, with the time that is left; without one, only the lines.

    Args:
        lines: whether there are any; without them standard output is left alone, and the bar is on standard error.
    """
    # A container's output is no terminal: there rich is not even imported.
    if not (sys.stdout if lines else sys.stderr).isatty():
        yield Advance(None, None, total, lines)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=not lines), transient=True) as bar:
        yield Advance(bar.console, bar, total, lines)


def print_models(models: Sequence[ModelInfo], measures: Sequence[Measure] = ()) -> None:
    """The registry as a table, with what each model costs where that was measured."""
    from rich.table import Table

    by_name = {measure.name: measure for measure in measures}
    precisions = list(dict.fromkeys(kind for measure in measures for kind in measure.seconds))
    processors = list(dict.fromkeys(kind for measure in measures for kind in measure.cpu_seconds))
    costs = [f"s, {kind}" for kind in precisions] + [f"CPU s, {kind}" for kind in processors]
    table = Table("model", "parameters", "encoder", *(["window", "GFLOPs", *costs] if measures else []))
    for name in ("weights", "licence", "scores"):
        table.add_column(name)
    for model in models:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in model.scores.items())
        cost = []
        if measures:
            measure = by_name[model.name]
            cost = ["x".join(str(n) for n in measure.window), f"{measure.gflops:.3g}"]
            cost += [f"{measure.seconds[kind]:.2f}" for kind in precisions]
            cost += [f"{measure.cpu_seconds[kind]:.2f}" for kind in processors]
        _add_row(
            table,
            model.name,
            f"{model.parameters / 1e6:.1f} M",
            f"{model.encoder_parameters / 1e6:.1f} M",
            *cost,
            "bundled" if model.bundled else "none",
            model.licence or "-",
            scores or "-",
        )
    _print_table(table)


def print_weights(found: Sequence[Found]) -> None:
    """The weights of the folders that are searched, as a table."""
    from rich.table import Table

    table = Table("weights", "model", "parameters", "MB", "licence", "")
    for weights in found:
        entry = weights.entry
        _add_row(
            table,
            str(weights.path),
            entry.architecture,
            f"{entry.parameters / 1e6:.1f} M",
            f"{entry.bytes / 1e6:.1f}",
            entry.licence,
            "" if weights.used else "not used: missing, or another of that name comes first",
        )
    _print_table(table)


def _add_row(table: Table, *cells: str) -> None:
    """A row of cells as they are: what stands in a file, or is its name, is no markup."""
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) for cell in cells))


def _print_table(table: Table) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a narrow default width would cut the cells
        console = Console(width=200)
    console.print(table)
