"""`--debug`, an option of every command: without it an error is one line, with it also where it arose."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

log = logging.getLogger("lexor")

_OPTION = Annotated[
    bool, typer.Option("--debug", help="With every error, show where in the program it arose (a traceback).")
]


def with_debug(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that has the option as well."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **options: Any) -> Any:
        log.setLevel(logging.DEBUG if debug else logging.NOTSET)
        return command(*args, **options)

    # A signature that is given by hand is taken as it is: its annotations must be no text.
    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_OPTION)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**inspect.get_annotations(command, eval_str=True), "debug": _OPTION}
    return run


def show_traceback() -> None:
    """Prints the traceback of the error at hand, if `--debug` asks for it."""
    log.debug("where the error arose:", exc_info=True)
