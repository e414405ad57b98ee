"""Forms with files (multipart/form-data), read in memory alone, and what is unzipped from them; both with bounds."""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexor.errors import shown
from lexor.serving.bodies import parsed, read_body
from lexor.serving.limits import JSON_BYTES
from lexor.serving.refusal import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

# A form has its parts' headers beside what they hold.
FORM_BYTES = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a form: its name, as the client gave it, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """Fields and files of a form, by name."""

    fields: dict[str, str]
    files: dict[str, File]

    def file(self, name: str) -> File:
        """A file that must be there; raises Refusal where it is not."""
        if name not in self.files:
            raise Refusal(400, f"the form has no file {name!r}; it has {shown(sorted(self.files))}")
        return self.files[name]

    def values(self, name: str) -> dict[str, Any]:
        """The JSON object of a field; an empty one where there is no such field."""
        text = self.fields.get(name, "").encode()
        return parsed(text, f"the field {name}") if text else {}


async def read_form(request: Request, most: int, stall_seconds: float) -> Form:
    """A form of a few fields and files.

    Args:
        request: that carries it.
        most: bytes of all of it.
        stall_seconds: see `read_body`.

    Raises:
        Refusal: it is too large, or no such form.
    """
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    class InMemory(MultiPartParser):
        # Larger files would go to the disk.
        spool_max_size = sys.maxsize

    body = await read_body(request, most + FORM_BYTES, stall_seconds)

    async def stream() -> AsyncIterator[bytes]:
        yield bytes(body)

    try:
        parser = InMemory(request.headers, stream(), max_files=2, max_fields=8, max_part_size=JSON_BYTES)  # type: ignore[arg-type]
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as problem:
        raise Refusal(400, f"the form cannot be read: {problem}") from None
    fields: dict[str, str] = {}
    files: dict[str, File] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files[name] = File(value.filename or "", await value.read())
            await value.close()
        else:
            fields[name] = value
    return Form(fields, files)


def unzipped(packed: bytes, most: int, exactly: int | None = None) -> bytes:
    """What a gzip file of one member holds.

    Args:
        packed: the file.
        most: bytes that it may hold.
        exactly: so many it must hold.

    Raises:
        Refusal: it holds more (413), or is no such file (400).
    """
    limit = most if exactly is None else min(most, exactly)
    inflate = zlib.decompressobj(31)
    try:
        found = inflate.decompress(packed, limit + 1)
    except zlib.error as problem:
        raise Refusal(400, f"the file is no gzip file ({problem})") from None
    if len(found) > most:
        raise Refusal(413, f"the file holds more than {most:,} bytes; give at most so many")
    if not inflate.eof or inflate.unused_data or (exactly is not None and len(found) != exactly):
        wanted = "" if exactly is None else f"; give {exactly:,} bytes"
        raise Refusal(400, f"the gzip file holds {len(found):,} bytes or more, or is cut off{wanted}")
    return found
