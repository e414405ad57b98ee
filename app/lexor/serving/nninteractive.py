"""nnInteractive's HTTP protocol: what napari-nninteractive, SlicerNNInteractive and `nninteractive-client` speak.

Their axes are those of the array that they send; napari and Slicer send (1, z, y, x), and points, boxes, masks and
spacing in that order. The client keeps the mask in a buffer of its own; each reply carries the smallest box in which
the mask now differs from that buffer.

Source: MIC-DKFZ/nnInteractive 2.6, client/nnInteractive/inference/remote and nnInteractive/inference/server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from lexor.errors import shown
from lexor.geometry import Shape, extent
from lexor.inference.canvas import hull
from lexor.inference.merging import Slices
from lexor.inference.places import box_of
from lexor.inference.session import Session
from lexor.serving import places
from lexor.serving.bodies import flag, json_header, json_reply, read_body, read_json
from lexor.serving.leases import Lease
from lexor.serving.limits import PACKING_BYTES
from lexor.serving.packed import Header, pack, unpack
from lexor.serving.refusal import Refusal
from lexor.serving.service import Service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

META = "X-Meta"
LEASE = "X-Lease-Token"
# What a scribble should be drawn with, in voxels; the network is shown a few of its voxels as clicks.
THICKNESS = (2, 2, 2)


class Desk:
    """What one client works on.

    Attributes:
        session: its volume, and what it said of it.
        dtype: of the client's buffer; None before it told.
        held: (D, H, W) what that buffer holds.
        within: a box that holds all of it; None: it is empty.
        autozoom: as the client wishes. Lexor always looks as far around as it needs, so it changes nothing.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.dtype: np.dtype[Any] | None = None
        self.held: np.ndarray | None = None
        self.within: Slices | None = None
        self.autozoom = True

    @property
    def shape(self) -> Shape:
        """Of the volume.

        Raises:
            Refusal: there is none yet.
        """
        shape = self.session.shape
        if shape is None:
            raise Refusal(400, "there is no image yet; call set_image first")
        return shape

    def set_buffer(self, dtype: np.dtype[Any] | None) -> None:
        """The client's buffer is of that dtype, and empty; None: it has none."""
        self.dtype = dtype
        self.held = None if dtype is None else np.zeros(self.shape, bool)
        self.within = None

    def fill_buffer(self, mask: np.ndarray) -> None:
        """The client has put a mask into its buffer."""
        if self.held is not None:
            self.held, self.within = mask, extent(mask)

    def change(self) -> tuple[list[list[int]], np.ndarray] | None:
        """Where the mask differs from the client's buffer, and what it is there; the client is then told."""
        if self.held is None or self.dtype is None:
            return None
        # Outside of both masks there is nothing to compare.
        here = hull([self.session.where(), self.within])
        if here is None:
            return None
        mask = self.session.mask()[here]
        inner = extent(mask != self.held[here])
        self.within = self.session.where()
        if inner is None:
            return None
        self.held[here] = mask
        where = [[i.start + h.start, i.stop + h.start] for i, h in zip(inner, here, strict=True)]
        return where, mask[inner].astype(self.dtype)


def routes(service: Service) -> Sequence[BaseRoute]:
    """The protocol's paths."""
    from starlette.routing import Route

    protocol = _Protocol(service)
    get = {
        "/healthz": protocol.health,
        "/capabilities": protocol.capabilities,
        "/lease_status": protocol.status,
    }
    post = {
        "/claim": protocol.claim,
        "/release": protocol.release,
        "/heartbeat": protocol.heartbeat,
        "/set_image": protocol.set_image,
        "/set_target_buffer": protocol.set_target_buffer,
        "/set_do_autozoom": protocol.set_autozoom,
        "/reset_interactions": protocol.reset,
        "/undo": protocol.undo,
        "/predict": protocol.predict,
        "/add_point_interaction": protocol.add_point,
        "/add_bbox_interaction": protocol.add_box,
        "/add_scribble_interaction": protocol.add_scribble,
        "/add_lasso_interaction": protocol.add_lasso,
        "/add_initial_seg_interaction": protocol.add_initial,
    }
    return [Route(path, handler, methods=["GET"]) for path, handler in get.items()] + [
        Route(path, handler, methods=["POST"]) for path, handler in post.items()
    ]


class _Protocol:
    """A method for each path."""

    def __init__(self, service: Service) -> None:
        self.service = service

    # Leases

    async def health(self, _: Request) -> Response:
        return json_reply({"ok": True})

    async def claim(self, _: Request) -> Response:
        lease = self.service.leases.claim(lambda: Desk(self.service.session()))
        limits = self.service.limits
        return json_reply(
            {
                "lease_token": lease.token,
                "idle_timeout_seconds": limits.idle_seconds,
                "liveness_timeout_seconds": limits.liveness_seconds,
                "max_sessions": limits.sessions,
            }
        )

    async def release(self, request: Request) -> Response:
        self.service.leases.release(request.headers.get(LEASE))
        # Also where the lease was gone: then there is nothing to do.
        return json_reply({"released": True})

    async def heartbeat(self, request: Request) -> Response:
        return json_reply({"remaining_seconds": self.service.leases.remaining(self._lease(request))})

    async def status(self, request: Request) -> Response:
        lease = self.service.leases.get(request.headers.get(LEASE), Desk, touch=False)
        task = self.service.worker.doing(lease.name)
        return json_reply(
            {
                "remaining_seconds": self.service.leases.remaining(lease),
                "idle_timeout_seconds": self.service.limits.idle_seconds,
                # Ours; clients that know nothing of it do not look.
                "working_on": task and {"what": task.what, "seconds": round(task.seconds, 1)},
            }
        )

    async def capabilities(self, _: Request) -> Response:
        return json_reply(
            {
                "supported_interactions": dict.fromkeys(
                    ("points", "bbox2d", "bbox3d", "scribble", "lasso"), True
                ),
                # Lexor's network has no channels for interactions.
                "channel_mapping": {},
                "num_interaction_channels": 0,
                "supports_initial_label": True,
                "supports_zero_shot_label_refinement": True,
                "preferred_scribble_thickness": THICKNESS,
                "interaction_decay": None,
                "patch_size": self.service.engine.runner.window,
                "do_autozoom": True,
                "inference_session_version": f"Lexor {version('lexor')}",
                "license": self.service.licence,
                "supports_undo": True,
            }
        )

    # The image and the client's buffer

    async def set_image(self, request: Request) -> Response:
        lease = self._lease(request)
        properties = json_header(request, META).get("image_properties") or {}
        if not isinstance(properties, dict):
            raise Refusal(400, f"image_properties is {shown(properties)}; give a JSON object")
        async with lease.held() as desk:
            most = self.service.limits.volume_bytes
            body = await self._body(request)

            def load() -> Shape:
                image = unpack(body, most, _check_image)[0]
                body.clear()
                shape: Shape = (image.shape[0], image.shape[1], image.shape[2])
                desk.session.set_volume(image, places.spacing(properties.get("spacing"), shape))
                desk.set_buffer(None)
                return shape

            shape = await self.service.load(load)
        return json_reply({"original_image_shape": [1, *shape]})

    async def set_target_buffer(self, request: Request) -> Response:
        lease = self._lease(request)
        values = await self._values(request)
        async with lease.held() as desk:
            shape, dtype = values.get("shape"), _buffer_dtype(values.get("dtype"))
            if shape != list(desk.shape):
                raise Refusal(400, f"the buffer's shape is {shown(shape)}, the image's {list(desk.shape)}")
            desk.set_buffer(dtype)
        return json_reply({})

    async def set_autozoom(self, request: Request) -> Response:
        lease = self._lease(request)
        values = await self._values(request)
        async with lease.held() as desk:
            desk.autozoom = flag(values, "do_autozoom")
        return json_reply({})

    # What is said of the object

    async def add_point(self, request: Request) -> Response:
        lease = self._lease(request)
        values = await self._values(request)
        positive, now = flag(values, "include_interaction"), flag(values, "run_prediction", True)
        z, y, x = places.numbers(values.get("coordinates"), 3, "coordinates")

        def say(desk: Desk) -> None:
            desk.session.click((z, y, x), positive, later=not now)  # type: ignore[arg-type]

        return await self._reply(lease, "a click", say, now)

    async def add_box(self, request: Request) -> Response:
        lease = self._lease(request)
        values = await self._values(request)
        positive, now = flag(values, "include_interaction"), flag(values, "run_prediction", True)
        lower, upper = places.drawn_box(values.get("bbox_coords"))

        def say(desk: Desk) -> None:
            if positive:
                # They draw several boxes on one object, on one slice each.
                desk.session.box(lower, upper, join=True, later=not now)
                return
            inside = box_of(lower, upper).clipped(desk.shape)
            desk.session.lasso(np.ones(inside.shape, bool), False, at=inside.lower, later=not now)

        return await self._reply(lease, "a box", say, now)

    async def add_scribble(self, request: Request) -> Response:
        return await self._add_mask(request, "a scribble", Session.scribble)

    async def add_lasso(self, request: Request) -> Response:
        return await self._add_mask(request, "a lasso", Session.lasso)

    async def _add_mask(self, request: Request, what: str, verb: Callable[..., Any]) -> Response:
        lease = self._lease(request)
        values = json_header(request, META)
        positive, now = flag(values, "include_interaction"), flag(values, "run_prediction", True)
        async with lease.held() as desk:
            shape = desk.shape
            where = places.part(values.get("interaction_bbox"), shape, "interaction_bbox")
            size = tuple(s.stop - s.start for s in where)
            crop = await self._mask(request, size)

            def say(desk: Desk) -> None:
                at = tuple(s.start for s in where)
                verb(desk.session, places.marked(crop), positive, at=at, later=not now)

            return await self._answered(lease, desk, what, say, now)

    async def add_initial(self, request: Request) -> Response:
        lease = self._lease(request)
        now = flag(json_header(request, META), "run_prediction", False)
        async with lease.held() as desk:
            shape = desk.shape
            mask = await self._mask(request, shape)

            def say(desk: Desk) -> None:
                inside = places.marked(mask)
                # The client puts it into its buffer itself.
                desk.fill_buffer(inside)
                desk.session.previous(inside, alone=True, refine=now)

            return await self._answered(lease, desk, "an initial mask", say, now)

    async def predict(self, request: Request) -> Response:
        lease = self._lease(request)
        whole = flag(await self._values(request), "force_full_refine", False)

        def run(desk: Desk) -> bool:
            session = desk.session
            if session.waits:
                session.answer()
            elif whole and session.shape is not None and session.mask().any():
                session.previous(session.mask(), refine=True)
            else:
                return False
            return True

        return await self._reply(lease, "all that was said", run, True)

    async def undo(self, request: Request) -> Response:
        return await self._reply(
            self._lease(request), "undo", lambda desk: bool(desk.shape) and desk.session.undo(), True
        )

    async def reset(self, request: Request) -> Response:
        lease = self._lease(request)
        async with lease.held() as desk:
            if desk.dtype is not None:
                # The client empties its buffer itself.
                desk.session.clear()
                desk.set_buffer(desk.dtype)
            elif desk.session.shape is not None:
                desk.session.clear()
        return json_reply({})

    # Helpers

    def _lease(self, request: Request) -> Lease[Desk]:
        return self.service.leases.get(request.headers.get(LEASE), Desk)

    async def _values(self, request: Request) -> dict[str, Any]:
        return await read_json(request, self.service.limits.stall_seconds)

    async def _body(self, request: Request) -> bytearray:
        limits = self.service.limits
        return await read_body(request, limits.volume_bytes + PACKING_BYTES, limits.stall_seconds)

    async def _mask(self, request: Request, size: tuple[int, ...]) -> np.ndarray:
        """A mask of a known size."""
        body = await self._body(request)

        def check(header: Header) -> None:
            if header.shape != size:
                raise Refusal(400, f"the mask's shape is {list(header.shape)}; give one of {list(size)}")

        return await self.service.load(lambda: unpack(body, self.service.limits.volume_bytes, check))

    async def _reply(
        self, lease: Lease[Desk], what: str, say: Callable[[Desk], bool | None], now: bool
    ) -> Response:
        async with lease.held() as desk:
            return await self._answered(lease, desk, what, say, now)

    async def _answered(
        self, lease: Lease[Desk], desk: Desk, what: str, say: Callable[[Desk], bool | None], now: bool
    ) -> Response:
        """What the client is sent after something was said.

        Args:
            say: says it; False: there was nothing to do.
            now: whether an answer was asked for.
        """

        def work() -> tuple[dict[str, Any], bytes]:
            ran = say(desk) is not False and now
            change = desk.change() if ran else None
            if change is None:
                return {"ran_prediction": ran, "bbox": None}, b""
            where, mask = change
            meta = {"ran_prediction": True, "bbox": where, "dtype": mask.dtype.name, "shape": mask.shape}
            return meta, pack(mask)

        meta, body = await self.service.answer(lease, what, work)
        from starlette.responses import Response

        headers = {META: json.dumps(meta, separators=(",", ":"))}
        return Response(body, media_type="application/octet-stream", headers=headers)


def _check_image(header: Header) -> None:
    if len(header.shape) != 4 or header.shape[0] != 1:
        raise Refusal(400, f"the image's shape is {list(header.shape)}; give one channel: [1, z, y, x]")


def _buffer_dtype(name: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name if isinstance(name, str) else object)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.kind not in "biu":
        raise Refusal(400, f"the buffer's dtype is {shown(name)}; give bool or an integer type")
    return dtype
