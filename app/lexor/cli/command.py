"""The `lexor` command: its commands, those of users first."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from lexor.cli import bench, weights
from lexor.cli.convert import convert
from lexor.cli.debug import show_traceback, with_debug
from lexor.cli.demo import demo
from lexor.cli.evaluate import evaluate
from lexor.cli.export import export
from lexor.cli.grand_challenge import grand_challenge
from lexor.cli.join import join
from lexor.cli.leave_out import leave_out
from lexor.cli.models import models
from lexor.cli.output import forgive_output, lost_output, say
from lexor.cli.pack import pack
from lexor.cli.predict import predict
from lexor.cli.prompt import prompt
from lexor.cli.report import report
from lexor.cli.retrain import retrain
from lexor.cli.serve import serve
from lexor.cli.synth import synth
from lexor.cli.train import train
from lexor.cli.view import view

# Exit status: an error that no command foresaw.
FAULT = 3
# What these commands are asked for is what they print; the others leave files.
_PRINTING = ("prompt", "models", "evaluate", "weights", "bench")


class _Commands(TyperGroup):
    """The commands; what is wrong with an option is said in a user's words, not in those of a library."""

    def invoke(self, ctx: Any) -> Any:
        """Parses a command's options, and runs it."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as problem:
            problem.message = problem.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    cls=_Commands,
    help="Interactive and automatic segmentation of 3D medical images.",
    epilog="Exit status: 0 all was done; 1 some of it could not be; 2 nothing could be run; "
    "3 a fault of Lexor's own; 130 Ctrl-C; 143 SIGTERM.",
    # rich takes longer to import than all that `lexor --help` needs beside it.
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    predict,
    convert,
    prompt,
    models,
    report,
    evaluate,
    serve,
    view,
    demo,
    train,
    retrain,
    leave_out,
    synth,
    pack,
    export,
    join,
    grand_challenge,
):
    app.command()(command)
app.add_typer(weights.app, name="weights", help="List, verify and import weights.")
app.add_typer(bench.app, name="bench", help="Ratios against a named baseline, in one run.")
for group in (app, weights.app, bench.app):
    for registered in group.registered_commands:
        registered.callback = registered.callback and with_debug(registered.callback)


def main() -> None:
    """Entry point of the `lexor` command."""
    forgive_output()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    # As a container's first process we would be deaf to it, and elsewhere leave half a file behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except SystemExit as end:
        if (problem := lost_output()) is not None:
            say(f"warning: not all could be printed: {problem.strerror}", err=True)
            if not end.code and sys.argv[1:2] and sys.argv[1] in _PRINTING:
                raise SystemExit(1) from None
        raise
    except Exception as problem:
        # What nobody foresaw is a line as well.
        show_traceback()
        say(
            f"error: {type(problem).__name__}: {problem}; this is a fault of Lexor's own, which --debug shows",
            err=True,
        )
        raise SystemExit(FAULT) from None
