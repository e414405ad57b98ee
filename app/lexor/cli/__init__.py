"""The `lexor` command: parse, call the library, print. One module a command."""

from lexor.cli.command import app, main

__all__ = ["app", "main"]
