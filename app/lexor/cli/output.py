"""What a command prints: it cannot harm a terminal, and that it cannot be printed costs no answer."""

from __future__ import annotations

import errno
import io
import sys
from typing import TYPE_CHECKING

import typer

from lexor.errors import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def say(line: object, err: bool = False) -> None:
    """Prints a line on standard output, or standard error."""
    typer.echo(printable(str(line)), err=err)


class _Descriptor(io.FileIO):
    """A standard stream's descriptor, to which writing never fails."""

    lost: OSError | None = None
    """Why something was not written; None: all was, or nobody was left to read it."""

    def write(self, data: ReadableBuffer) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as problem:
            if problem.errno != errno.EPIPE:
                self.lost = problem
            return memoryview(data).nbytes


def forgive_output() -> None:
    """Makes standard output and standard error swallow what cannot be written, now and at the interpreter's end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            raw = _Descriptor(stream.fileno(), "w", closefd=False)
            # A file's name may hold what the terminal cannot show, and a log wants its lines as they come.
            text = io.TextIOWrapper(
                io.BufferedWriter(raw), stream.encoding, errors="backslashreplace", line_buffering=True
            )
            setattr(sys, name, text)


def lost_output() -> OSError | None:
    """Why some of standard output could not be written, if so."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    return raw.lost if isinstance(raw, _Descriptor) else None
