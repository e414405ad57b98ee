"""How much a server takes on: sessions, bytes, seconds. All of it is checked before memory is taken."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from lexor.io.npz import MAX_ARRAY_BYTES

# Of a JSON body, and of the JSON in a header: they hold a few numbers.
JSON_BYTES: Final = 1 << 16
# A packed array may be longer than what it holds by its headers, and by a little per chunk.
PACKING_BYTES: Final = 1 << 20


def _memory() -> int:
    """Bytes of memory of this machine; 16 GiB where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 16 << 30


def default_volume_bytes() -> int:
    """As for a file, but no more than a quarter of this machine's memory."""
    return min(MAX_ARRAY_BYTES, _memory() // 4)


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        sessions: so many at a time, each with a volume of its own.
        idle_seconds: a session about which nothing was asked for so long ends.
        liveness_seconds: so does one whose client gives no sign of life at all, where it promised to.
        volume_bytes: of a volume as it comes, unpacked.
        stall_seconds: a request of which nothing more arrives for so long is given up.
        connections: so many at a time.
    """

    sessions: int = 4
    idle_seconds: float = 3600.0
    liveness_seconds: float = 60.0
    volume_bytes: int = field(default_factory=default_volume_bytes)
    stall_seconds: float = 60.0
    connections: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; give a number above 0")
