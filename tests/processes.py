"""Commands that tests start as a user does."""

from __future__ import annotations

import signal


def hear_interrupts() -> None:
    """In a new process: Ctrl-C reaches it, though a script in the background, which is deaf to it, runs the tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
