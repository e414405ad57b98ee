"""The one error of Lexor's file handling, and how it shows what it found."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from itertools import islice
from typing import Any


class _Repr(reprlib.Repr):
    """A repr that takes as little time for a large value as for a small one."""

    def repr_dict(self, x: Mapping[Any, Any], level: int) -> str:
        # The standard library's sorts all keys first.
        return super().repr_dict(dict(islice(x.items(), self.maxdict + 1)), level)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return self.repr_instance(x[: self.maxother], level)


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = 60
_REPR.maxlevel = 3


class CaseError(ValueError):
    """A case that cannot be used; its message is one line: file, key, value found, remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class WeightsError(ValueError):
    """Weights that cannot be used; one line that names the file, what it says, what was wanted, a remedy."""


class Notes:
    """What was found wrong and dealt with, one line each; no more lines are kept than a person reads."""

    limit = 50

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._dropped = 0

    def append(self, note: str) -> None:
        """Add a line of key, value and remedy, without the file's name."""
        if len(self._lines) < self.limit:
            self._lines.append(note)
        else:
            self._dropped += 1

    def lines(self, name: str) -> tuple[str, ...]:
        """All notes, each with the name of the file they are about."""
        more = [f"{self._dropped:,} more warnings are not shown; put these right first"]
        return tuple(printable(f"{name}: {note}") for note in self._lines + more * bool(self._dropped))


def without_name(error: str, *names: str) -> str:
    """An error without the name that it begins with, for a line that says the name already."""
    return next((error.removeprefix(f"{one}: ") for one in names if error.startswith(f"{one}: ")), error)


def shown(value: object) -> str:
    """Value as it appears in a message: its repr, short and on one line whatever the value is."""
    try:
        return printable(_REPR.repr(value))
    except Exception:  # e.g. an integer of too many digits; a message must never be what fails
        return f"<{type(value).__name__}>"


def printable(text: str) -> str:
    """Text on one line, its control characters as escapes: a terminal obeys nothing that a file holds."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
