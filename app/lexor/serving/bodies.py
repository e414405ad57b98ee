"""What a request carries, read with bounds: bytes, and the JSON of bodies and headers; and JSON as a reply."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from lexor.errors import shown
from lexor.serving.limits import JSON_BYTES
from lexor.serving.refusal import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def read_body(request: Request, most: int, stall_seconds: float = 60.0) -> bytearray:
    """The bytes of a request, in memory.

    Raises:
        Refusal: there are more than `most` (413), or nothing came for so long (408).
    """
    from starlette.requests import ClientDisconnect

    said = request.headers.get("content-length", "0")
    if said.isdigit() and len(said) < 20 and int(said) > most:
        raise Refusal(413, f"the request has {int(said):,} bytes; give at most {most:,}")
    body = bytearray()
    chunks = request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), stall_seconds)
        except StopAsyncIteration:
            return body
        except ClientDisconnect:
            raise Refusal(400, "the client went away before it had sent all") from None
        except TimeoutError:
            raise Refusal(408, f"nothing more of the request came for {stall_seconds:g} s") from None
        if len(body) + len(chunk) > most:
            raise Refusal(413, f"the request has more than {most:,} bytes; give at most so many")
        body += chunk


async def read_json(request: Request, stall_seconds: float = 60.0) -> dict[str, Any]:
    """The JSON object of a request's body; an empty one where there is no body."""
    body = await read_body(request, JSON_BYTES, stall_seconds)
    return parsed(bytes(body), "the body") if body.strip() else {}


def json_header(request: Request, name: str) -> dict[str, Any]:
    """The JSON object of a header; an empty one where the header is missing."""
    text = request.headers.get(name)
    return {} if text is None else parsed(text.encode("latin-1"), f"the header {name}")


def parsed(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object; raises Refusal where it is none, or too long."""
    if len(text) > JSON_BYTES:
        raise Refusal(413, f"{what} has {len(text):,} bytes; give at most {JSON_BYTES:,}")

    def no_number(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        found = json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError) as problem:
        reason = "it is too deep" if isinstance(problem, RecursionError) else str(problem)
        raise Refusal(400, f"{what} is no JSON: {reason}") from None
    if not isinstance(found, dict):
        raise Refusal(400, f"{what} is {shown(found)}; give a JSON object")
    return found


def flag(values: dict[str, Any], key: str, default: bool | None = None) -> bool:
    """A boolean by its key; raises Refusal where it is none, or is missing and there is no default."""
    value = values.get(key, default)
    if not isinstance(value, bool):
        raise Refusal(400, f"{key} is {shown(value)}; give true or false")
    return value


def json_reply(values: dict[str, Any]) -> Response:
    """A reply of status 200."""
    from starlette.responses import JSONResponse

    return JSONResponse(values)
