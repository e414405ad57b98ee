"""`lexor view`: the browser's side of an annotation, as a web application. All state is the `Annotation`'s.

Volumes go to the browser as NIfTI, labels as raw bytes: a step is answered with those of the box that it changed
(`packed`). The front end is in `static/`: plain modules, and NiiVue, which draws.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from lexor.errors import CaseError
from lexor.serving.annotation import Update
from lexor.serving.bodies import read_body
from lexor.serving.display import intensities, nifti, unit_of, windows
from lexor.serving.entry import Entry
from lexor.serving.guard import Guard
from lexor.serving.keeping import LONGEST_NAME, MOST_OBJECTS
from lexor.serving.opening import Opened
from lexor.serving.refusal import Refusal, refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOG = logging.getLogger(__name__)
STATIC = Path(__file__).with_name("static")
MOST_BYTES = 1 << 20
MOST_SCRIBBLED = 60_000

Index = Annotated[int, Field(ge=0, lt=1 << 31)]
Point = tuple[Index, Index, Index]
Body = TypeVar("Body", bound=BaseModel)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Click(_Asked):
    """A voxel (x, y, z), and whether it belongs to the current object."""

    at: Point
    positive: bool = True


class Boxed(_Asked):
    """Two opposite voxels of a box, and one of the slice on which it was drawn first."""

    first: Point
    last: Point
    drawn_on: Point | None = None


class Stroke(_Asked):
    """A scribble on a slice: the axis across it, its index along that axis, and the other two indices of each voxel,
    in the order x, y, z."""

    axis: Annotated[int, Field(ge=0, le=2)]
    slice: Index
    points: Annotated[list[tuple[Index, Index]], Field(min_length=1, max_length=MOST_SCRIBBLED)]
    positive: bool = True


class Change(_Asked):
    """What is to be different about an object."""

    name: Annotated[str, Field(max_length=LONGEST_NAME)] | None = None
    colour: Annotated[str, Field(max_length=7)] | None = None
    locked: bool | None = None


def packed(update: Update) -> bytes:
    """An update as it is sent: the length of a JSON header (four bytes, the lowest first), the header, and the labels
    of the changed box, a byte each, x the fastest, then y."""
    labels = update.labels
    head = {
        "before": update.before,
        "after": update.after,
        "first": update.first,
        "shape": None if labels is None else labels.shape[::-1],
        "state": update.state,
    }
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + (b"" if labels is None else labels.tobytes())


def about(opened: Opened) -> dict[str, Any]:
    """What the browser needs to know of the scan before it shows it."""
    scan, seen = opened.annotation.scan, opened.annotation.orientation
    return {
        "name": scan.name,
        "modality": scan.modality,
        "unit": unit_of(scan),
        "shape": seen.view_shape,
        "spacing": seen.spacing,
        "affine": seen.affine,
        # Only these formats say how the patient lay.
        "placed": scan.format in ("nifti", "nrrd", "mha", "dicom"),
        "windows": windows(scan),
        "mostScribbled": MOST_SCRIBBLED,
        "mostObjects": MOST_OBJECTS,
        "notes": opened.notes,
        "restored": opened.restored,
    }


def make_app(opened: Opened, token: str, port: int, once: str | None = None) -> ASGIApp:
    """The application.

    Args:
        opened: what is shown and changed.
        token, port, once: see `Entry`.
    """
    annotation = opened.annotation
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Refusal, refused)
    told = about(opened)

    @app.get("/")
    def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/api/scan")
    def scan() -> dict[str, Any]:
        return told

    @app.get("/api/volume.nii")
    def volume() -> Response:
        seen = annotation.orientation
        content = nifti(seen.to_view(intensities(annotation.scan.voxels)), seen.spacing)
        return Response(content, media_type="application/octet-stream")

    @app.get("/api/labels")
    async def labels() -> Response:
        return await _answer(annotation.whole)

    @app.post("/api/click")
    async def click(request: Request) -> Response:
        asked = await _asked(Click, request)
        return await _answer(lambda: annotation.click(asked.at, asked.positive))

    @app.post("/api/box")
    async def box(request: Request) -> Response:
        asked = await _asked(Boxed, request)
        return await _answer(lambda: annotation.box(asked.first, asked.last, asked.drawn_on))

    @app.post("/api/scribble")
    async def scribble(request: Request) -> Response:
        asked = await _asked(Stroke, request)
        voxels = np.insert(np.array(asked.points, np.int64), asked.axis, asked.slice, axis=1)
        return await _answer(lambda: annotation.scribble(voxels, asked.positive))

    for name, act in (
        ("undo", annotation.undo),
        ("clear", annotation.clear),
        ("save", annotation.save),
        ("objects", annotation.new_object),
    ):
        _route(app, name, act)

    @app.post("/api/objects/{number}/select")
    async def select(number: int) -> Response:
        return await _answer(lambda: annotation.select(number))

    @app.patch("/api/objects/{number}")
    async def change(number: int, request: Request) -> Response:
        asked = await _asked(Change, request)
        return await _answer(lambda: annotation.change(number, asked.name, asked.colour, asked.locked))

    app.mount("/static", StaticFiles(directory=STATIC))
    return Guard(Entry(app, token, port, once))


def _route(app: FastAPI, name: str, act: Callable[[], Update]) -> None:
    """A step of which nothing needs to be said but its name."""

    @app.post(f"/api/{name}")
    async def step() -> Response:
        return await _answer(act)


async def _asked(kind: type[Body], request: Request) -> Body:
    """The body of a request, bounded and checked."""
    # A page of another site can send forms and plain text, but no JSON, without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the request is not JSON; send Content-Type: application/json")
    content = bytes(await read_body(request, MOST_BYTES))
    try:
        return kind.model_validate_json(content)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Refusal(400, f"{where}: {first['msg']}") from None


async def _answer(act: Callable[[], Update]) -> Response:
    """Does a step off the event loop, and sends what it has changed."""
    try:
        update = await run_in_threadpool(act)
    except (CaseError, ValueError) as problem:
        raise Refusal(422, str(problem)) from None
    except OSError as problem:
        raise Refusal(
            507, f"not written: {problem}; free the place, or start with another --output"
        ) from None
    except MemoryError:
        raise Refusal(507, "out of memory; close other programs, or crop the scan") from None
    except Exception as problem:  # what nobody foresaw must not cost the connection either
        _LOG.exception("a step failed")
        raise Refusal(
            500, f"Lexor failed ({type(problem).__name__}: {problem}); nothing was changed"
        ) from None
    return Response(packed(update), media_type="application/octet-stream")
