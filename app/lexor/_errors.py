"""The one error of Lexor's file handling, and how it shows what it found."""

from __future__ import annotations

import reprlib

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60
_REPR.maxlevel = 3


class CaseError(ValueError):
    """A case that cannot be used; its message is one line: file, key, value found, remedy."""


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
        return tuple(f"{name}: {note}" for note in self._lines + more * bool(self._dropped))


def shown(value: object) -> str:
    """Value as it appears in a message: its repr, short and on one line whatever the value is."""
    try:
        return _REPR.repr(value).replace("\n", " ")
    except Exception:  # e.g. an integer of too many digits; a message must never be what fails
        return f"<{type(value).__name__}>"
