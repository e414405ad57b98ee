"""Terminal output: a bar where someone watches, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from lexor.models.factory import ModelInfo


class Advance:
    """Prints a line per finished item and moves the bar, if there is one."""

    def __init__(self, console: Console, bar: Progress | None, total: int) -> None:
        self._console = console
        self._bar = bar
        self._task = bar.add_task("cases", total=total) if bar else None

    def __call__(self, line: str) -> None:
        """One item is done."""
        self.note(line)
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def note(self, line: str) -> None:
        """A line that belongs to the item at hand."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Advance]:
    """A progress bar over `total` items on a terminal; without one, only the lines."""
    console = Console()
    if not console.is_terminal:
        yield Advance(console, None, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield Advance(bar.console, bar, total)


def print_models(models: Sequence[ModelInfo]) -> None:
    """The registry as a table."""
    table = Table("model", "parameters", "weights", "licence", "scores")
    for model in models:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in model.scores.items())
        table.add_row(
            model.name,
            f"{model.parameters / 1e6:.1f} M",
            "bundled" if model.bundled else "none",
            model.licence or "-",
            scores or "-",
        )
    console = Console()
    if not console.is_terminal:  # a narrow default width would cut the cells
        console = Console(width=160)
    console.print(table)
