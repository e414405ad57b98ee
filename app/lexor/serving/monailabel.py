"""MONAI Label's REST: sessions with an image each, and clicks on it, as 3D Slicer's plug-in and its client send them.

An image is sent once, as a NIfTI file. Every request names all clicks so far, as voxels (i, j, k) of that file. It is
answered with the mask as a NIfTI file in the same place. Neither training nor a store of images is offered.

Source: Project-MONAI/MONAILabel 0.8.5, monailabel/endpoints (info, session, infer) and monailabel/client/client.py.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lexor.errors import shown
from lexor.geometry import Voxel
from lexor.inference.session import Session
from lexor.serving import places
from lexor.serving.bodies import json_reply
from lexor.serving.forms import File, read_form
from lexor.serving.leases import Lease
from lexor.serving.nifti import Placed, mask_file, read_nifti
from lexor.serving.refusal import Refusal
from lexor.serving.service import Service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

MODEL = "lexor"
LABEL = "object"
# What clients look for and Lexor has not.
_NOT_HERE = ("trainers", "strategies", "scoring", "train_stats", "datastore")
# More clicks than anybody sets on one object.
MOST_CLICKS = 1000

Click = tuple[Voxel, bool]


class Seat:
    """What one client works on.

    Attributes:
        session: of it.
        image: its name, as the client called it, and where it lies; None before there is one.
        said: the clicks that the mask answers, in order.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.name = ""
        self.place: Placed | None = None
        self.said: list[Click] = []

    def open(self, file: File, most: int) -> None:
        """Takes an image."""
        volume, self.place, spacing = read_nifti(file.content, most)
        self.session.set_volume(volume, spacing)
        self.name, self.said = file.name, []

    def answer(self, clicks: list[Click]) -> bytes:
        """The mask that clicks lead to, as a file; those that are new go on from the last mask."""
        assert self.place is not None
        if clicks[: len(self.said)] != self.said:
            self.session.clear()
            self.said = []
        try:
            for point, positive in clicks[len(self.said) :]:
                self.session.click(point, positive, later=True)
            self.session.answer()
        except BaseException:
            # Half of it must not count for the next request.
            self.session.clear()
            self.said = []
            raise
        self.said = clicks
        return mask_file(self.session.mask(), self.place)


def routes(service: Service) -> Sequence[BaseRoute]:
    """The protocol's paths."""
    from starlette.routing import Route

    protocol = _Protocol(service)
    return [
        Route("/info/", protocol.info, methods=["GET"]),
        Route("/session/", protocol.create, methods=["PUT"]),
        Route("/session/{session}", protocol.show, methods=["GET"]),
        Route("/session/{session}", protocol.remove, methods=["DELETE"]),
        Route("/infer/{model}", protocol.infer, methods=["POST"]),
    ]


class _Protocol:
    """A method for each path."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def info(self, _: Request) -> Response:
        model = {
            "type": "deepgrow",
            "labels": {LABEL: 1},
            "dimension": 3,
            "description": "Lexor: clicks on any object",
            "config": {},
        }
        nothing: dict[str, Any] = {key: {} for key in _NOT_HERE}
        return json_reply(
            {
                "name": "Lexor",
                "description": "Interactive segmentation of any object",
                "version": version("lexor"),
                "labels": [LABEL],
                "models": {MODEL: model},
                **nothing,
            }
        )

    async def create(self, request: Request) -> Response:
        lease = self._claim()
        try:
            await self._open(request, lease, "files")
        except BaseException:
            self.service.leases.release(lease.token)
            raise
        return json_reply({"session_id": lease.token, "session_info": self._told(lease)})

    async def show(self, request: Request) -> Response:
        return json_reply(self._told(self._lease(request.path_params["session"])))

    async def remove(self, request: Request) -> Response:
        lease = self._lease(request.path_params["session"])
        told = self._told(lease)
        self.service.leases.release(lease.token)
        return json_reply(told)

    async def infer(self, request: Request) -> Response:
        if request.path_params["model"] != MODEL:
            raise Refusal(404, f"there is no model {shown(request.path_params['model'])}; there is {MODEL}")
        output = request.query_params.get("output", "all")
        if output not in ("all", "image", "json"):
            raise Refusal(400, f"output is {shown(output)}; give all, image or json")
        token = request.query_params.get("session_id")
        if token:
            return await self._infer(request, self._lease(token), output)
        # An image of its own for one request.
        lease = self._claim()
        try:
            return await self._infer(request, lease, output)
        finally:
            self.service.leases.release(lease.token)

    async def _infer(self, request: Request, lease: Lease[Seat], output: str) -> Response:
        began = time.perf_counter()
        limits = self.service.limits
        form = await read_form(request, limits.volume_bytes, limits.stall_seconds)
        clicks = _clicks(form.values("params"))
        if "label" in form.files:
            raise Refusal(400, "scribbles in a label file are not taken; give clicks")
        async with lease.held() as seat:
            if seat.place is None:
                file = form.file("file")
                await self.service.load(lambda: seat.open(file, limits.volume_bytes))
            found = await self.service.answer(lease, "clicks", lambda: seat.answer(clicks))
        told = {"label_names": {LABEL: 1}, "latencies": {"total": round(time.perf_counter() - began, 2)}}
        return _answered(found, told, output)

    async def _open(self, request: Request, lease: Lease[Seat], name: str) -> None:
        limits = self.service.limits
        form = await read_form(request, limits.volume_bytes, limits.stall_seconds)
        file = form.file(name)
        async with lease.held() as seat:
            await self.service.load(lambda: seat.open(file, limits.volume_bytes))

    def _claim(self) -> Lease[Seat]:
        return self.service.leases.claim(lambda: Seat(self.service.session()), lively=False)

    def _lease(self, token: str) -> Lease[Seat]:
        try:
            return self.service.leases.get(token, Seat)
        except Refusal:
            raise Refusal(404, f"session {shown(token)} is not there, or has ended; create one") from None

    def _told(self, lease: Lease[Seat]) -> dict[str, Any]:
        return {
            "name": lease.token,
            "image": lease.state.name,
            "expiry": int(self.service.leases.remaining(lease)),
        }


def _clicks(params: dict[str, Any]) -> list[Click]:
    """Foreground and background clicks, those of an object first."""
    found: list[Click] = []
    for key, positive in ((LABEL, True), ("foreground", True), ("background", False)):
        points = params.get(key, [])
        if not isinstance(points, list) or len(found) + len(points) > MOST_CLICKS:
            raise Refusal(400, f"{key} is {shown(points)}; give at most {MOST_CLICKS} points [i, j, k]")
        for point in points:
            i, j, k = places.numbers(point, 3, key)
            found.append(((round(k), round(j), round(i)), positive))
    if not found:
        raise Refusal(400, "there is no click; give foreground: [[i, j, k], ...]")
    return found


def _answered(file: bytes, told: dict[str, Any], output: str) -> Response:
    """A mask's file and what is told of it."""
    from starlette.responses import Response

    if output == "json":
        return json_reply(told)
    if output == "image":
        return Response(file, media_type="application/gzip")
    limit = secrets.token_hex(16)
    parts = (
        ('name="params"', "application/json", json.dumps(told).encode()),
        ('name="image"; filename="mask.nii.gz"', "application/gzip", file),
    )
    body = b"".join(
        f"--{limit}\r\nContent-Disposition: form-data; {what}\r\nContent-Type: {kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for what, kind, content in parts
    )
    return Response(body + f"--{limit}--\r\n".encode(), media_type=f"multipart/form-data; boundary={limit}")
