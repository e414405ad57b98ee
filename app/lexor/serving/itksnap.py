"""ITK-SNAP's protocol for deep-learning servers (DLS): what its "nnInteractive" panel speaks.

Images and masks come as gzipped raw arrays with their size (x, y, z), points as x, y, z. The answer is the whole
mask, gzipped, as base64. A session that is not there is answered with status 200 and an `error`, as ITK-SNAP expects.

Source: itksnap-dls 0.1.6 (PyPI), itksnap_dls/server.py and its mock models.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from lexor.errors import CaseError, shown
from lexor.geometry import Shape
from lexor.inference.session import Session
from lexor.serving import places
from lexor.serving.bodies import json_reply
from lexor.serving.forms import read_form, unzipped
from lexor.serving.leases import Lease
from lexor.serving.refusal import Refusal
from lexor.serving.service import Service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

MODEL = "Lexor"
_FLOAT = np.dtype("<f4")


class Slot:
    """What one ITK-SNAP works on."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def shape(self) -> Shape:
        """Of the volume; raises Refusal where there is none yet."""
        if self.session.shape is None:
            raise Refusal(400, "there is no image yet; upload one first")
        return self.session.shape


def routes(service: Service) -> Sequence[BaseRoute]:
    """The protocol's paths, those of its two versions."""
    from starlette.routing import Route

    protocol = _Protocol(service)
    get: dict[str, Callable[..., Any]] = {
        "/status": protocol.status,
        "/v2/models": protocol.models,
        "/start_session": protocol.start,
        "/v2/start_session/{model}": protocol.start,
        "/process_point_interaction/{session}": protocol.point,
        "/v2/process_point_interaction/{session}": protocol.point,
        "/reset_interactions/{session}": protocol.reset,
        "/v2/reset_interactions/{session}": protocol.reset,
        "/end_session/{session}": protocol.end,
        "/v2/end_session/{session}": protocol.end,
    }
    post: dict[str, Callable[..., Any]] = {
        "/upload_raw/{session}": protocol.upload,
        "/v2/upload_raw/{session}": protocol.upload,
        "/process_scribble_interaction/{session}": protocol.scribble,
        "/process_lasso_interaction/{session}": protocol.lasso,
    }
    return [Route(path, handler, methods=["GET"]) for path, handler in get.items()] + [
        Route(path, handler, methods=["POST"]) for path, handler in post.items()
    ]


class _Protocol:
    """A method for each path."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def status(self, _: Request) -> Response:
        return json_reply({"status": "ok", "version": f"Lexor {version('lexor')}"})

    async def models(self, _: Request) -> Response:
        kinds = ["point", "scribble", "lasso"]
        return json_reply(
            {"models": [{"id": MODEL, "channels": [1], "dimensions": 3, "interactions": kinds}]}
        )

    async def start(self, request: Request) -> Response:
        wanted = request.path_params.get("model", MODEL)
        if wanted != MODEL:
            raise Refusal(404, f"there is no model {shown(wanted)}; there is {MODEL}")
        lease = self.service.leases.claim(lambda: Slot(self.service.session()), lively=False)
        return json_reply({"session_id": lease.token})

    async def upload(self, request: Request) -> Response:
        lease = self._lease(request)
        if lease is None:
            return _invalid()
        async with lease.held() as slot:
            file, metadata = await self._file(request)
            shape = _shape(metadata)

            def load() -> None:
                image = self._array(file, shape)
                spacing = metadata.get("spacing")
                turned = spacing[::-1] if isinstance(spacing, list) else None
                slot.session.set_volume(image, places.spacing(turned, shape))

            await self.service.load(load)
        return json_reply({"message": "the image is kept in memory"})

    async def point(self, request: Request) -> Response:
        lease = self._lease(request)
        if lease is None:
            return _invalid()
        query = request.query_params
        texts = query.getlist("point") or [query.get(axis, "") for axis in "xyz"]
        try:
            x, y, z = places.numbers([float(text) for text in texts], 3, "point")
        except ValueError:
            raise Refusal(400, f"point is {shown(texts)}; give x, y and z") from None
        positive = _foreground(request)

        def say(slot: Slot) -> None:
            slot.session.click((z, y, x), positive)  # type: ignore[arg-type]

        async with lease.held() as slot:
            return await self._answered(lease, slot, "a click", say)

    async def scribble(self, request: Request) -> Response:
        return await self._mask(request, "a scribble", Session.scribble)

    async def lasso(self, request: Request) -> Response:
        return await self._mask(request, "a lasso", Session.lasso)

    async def _mask(self, request: Request, what: str, verb: Callable[..., Any]) -> Response:
        lease = self._lease(request)
        if lease is None:
            return _invalid()
        positive = _foreground(request)
        async with lease.held() as slot:
            file, metadata = await self._file(request)
            shape = _shape(metadata)
            if shape != slot.shape:
                raise Refusal(400, f"the mask's size is {shape[::-1]}, the image's {slot.shape[::-1]}")
            mask = await self.service.load(lambda: places.marked(self._array(file, shape)))
            return await self._answered(lease, slot, what, lambda slot: verb(slot.session, mask, positive))

    async def reset(self, request: Request) -> Response:
        lease = self._lease(request)
        if lease is None:
            return _invalid()
        async with lease.held() as slot:
            if slot.session.shape is not None:
                slot.session.clear()
        return json_reply({"status": "success"})

    async def end(self, request: Request) -> Response:
        ended = self.service.leases.release(request.path_params["session"])
        return json_reply({"message": "Session ended" if ended else "Invalid session"})

    def _lease(self, request: Request) -> Lease[Slot] | None:
        try:
            return self.service.leases.get(request.path_params["session"], Slot)
        except Refusal:
            return None

    async def _file(self, request: Request) -> tuple[bytes, dict[str, Any]]:
        limits = self.service.limits
        form = await read_form(request, limits.volume_bytes, limits.stall_seconds)
        return form.file("file").content, form.values("metadata")

    def _array(self, file: bytes, shape: Shape) -> np.ndarray:
        """A gzipped array of 32-bit floats."""
        wanted = int(np.prod(shape, dtype=object)) * _FLOAT.itemsize
        most = self.service.limits.volume_bytes
        if wanted > most:
            raise Refusal(413, f"the array has {wanted:,} bytes when unpacked; give at most {most:,}")
        return np.frombuffer(unzipped(file, most, wanted), _FLOAT).reshape(shape)

    async def _answered(
        self, lease: Lease[Slot], slot: Slot, what: str, say: Callable[[Slot], Any]
    ) -> Response:
        def work() -> str:
            say(slot)
            mask = slot.session.mask().view(np.int8)
            return base64.b64encode(gzip.compress(mask.tobytes(), compresslevel=1)).decode("ascii")

        return json_reply({"status": "success", "result": await self.service.answer(lease, what, work)})


def _invalid() -> Response:
    return json_reply({"error": "Invalid session"})


def _shape(metadata: dict[str, Any]) -> Shape:
    """(z, y, x) from an image's description."""
    if metadata.get("components_per_pixel", 1) != 1:
        raise Refusal(400, f"the image has {shown(metadata['components_per_pixel'])} channels; give one")
    size = metadata.get("dimensions")
    if isinstance(size, list) and len(size) == 2:
        size = [*size, 1]
    try:
        x, y, z = places.numbers(size, 3, "dimensions")
    except CaseError as problem:
        raise Refusal(400, str(problem)) from None
    if min(x, y, z) < 1 or any(n != int(n) for n in (x, y, z)):
        raise Refusal(400, f"dimensions is {shown(size)}; give three whole numbers above 0")
    return int(z), int(y), int(x)


def _foreground(request: Request) -> bool:
    """Whether what is said belongs to the object; where nobody says so, it does not."""
    text = request.query_params.get("foreground", "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise Refusal(400, f"foreground is {shown(text)}; give true or false")
    return text in ("true", "1")
