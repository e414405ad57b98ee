"""What nobody should send: one clear answer each, the server goes on, and others never notice."""

from __future__ import annotations

import json
import socket
import warnings
from collections.abc import Iterator
from contextlib import closing

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import SHAPE, Running, scene, served

from lexor.inference.engine import Engine
from lexor.serving.limits import Limits
from lexor.serving.nninteractive import LEASE, META, Desk
from lexor.serving.packed import pack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession as Client

LIMITS = Limits(sessions=3, volume_bytes=1 << 20, stall_seconds=1)


@pytest.fixture(scope="module")
def running(bright: Engine) -> Iterator[Running]:
    with served(bright, LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def neighbour(running: Running) -> Iterator[tuple[Client, np.ndarray]]:
    """Somebody else, at work on the same server."""
    with closing(Client(running.url)) as client:
        client.set_image(scene()[None])
        buffer = np.zeros(SHAPE, np.uint8)
        client.set_target_buffer(buffer)
        client.add_bbox_interaction([[6, 19], [6, 23], [6, 23]], True)
        yield client, buffer


@pytest.fixture(scope="module")
def http(running: Running, neighbour: object) -> Iterator[httpx.Client]:
    """A lease of one's own, with an image."""
    with httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client:
        client.headers[LEASE] = client.post("/claim").json()["lease_token"]
        assert client.post("/set_image", content=pack(scene()[None])).status_code == 200
        buffer = {"shape": list(SHAPE), "dtype": "uint8"}
        assert client.post("/set_target_buffer", json=buffer).status_code == 200
        yield client


@pytest.fixture(scope="module", autouse=True)
def both_go_on(http: httpx.Client, neighbour: tuple[Client, np.ndarray]) -> Iterator[None]:
    """After all that, both can still work."""
    yield
    client, buffer = neighbour
    client.add_point_interaction([12, 34, 28], True)
    assert buffer[12, 34, 28]
    assert http.post("/reset_interactions").status_code == 200
    box = {"bbox_coords": [[6, 19], [6, 23], [6, 23]], "include_interaction": True}
    answer = http.post("/add_bbox_interaction", json=box)
    assert answer.status_code == 200
    assert json.loads(answer.headers[META])["bbox"] is not None


@pytest.fixture(autouse=True)
def unharmed(http: httpx.Client, neighbour: tuple[Client, np.ndarray], running: Running) -> Iterator[None]:
    """After each test the neighbour's session is as it was, and both are answered."""
    client, buffer = neighbour
    before = buffer.copy()
    yield
    assert client.heartbeat() > 0
    assert http.post("/heartbeat").status_code == 200
    session = running.service.leases.get(client._lease_token, Desk).state.session
    np.testing.assert_array_equal(session.mask(), before)
    np.testing.assert_array_equal(buffer, before)


def refused(answer: httpx.Response, status: int, why: str) -> None:
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert why in detail
    assert "\n" not in detail
    assert len(detail) < 400


def meta(**values: object) -> dict[str, str]:
    return {META: json.dumps(values)}


POINT = {"include_interaction": True, "coordinates": [1, 2, 3]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"coordinates": [12, 34, 99]}, "outside the volume"),
        ({"coordinates": [-5, 3, 3]}, "outside the volume"),
        ({"coordinates": [10**400, 3, 3]}, "give 3 numbers"),
        ({"coordinates": [2**31, 3, 3]}, "give 3 numbers"),
        ({"coordinates": [1, 2]}, "give 3 numbers"),
        ({"coordinates": [1, 2, "3"]}, "give 3 numbers"),
        ({"coordinates": [True, 2, 3]}, "give 3 numbers"),
        ({"coordinates": None}, "give 3 numbers"),
        ({"coordinates": {"z": 1}}, "give 3 numbers"),
        ({"include_interaction": "yes"}, "give true or false"),
        ({"include_interaction": None}, "give true or false"),
        ({"run_prediction": 1}, "give true or false"),
    ],
)
def test_a_point_that_is_none(http: httpx.Client, change: dict[str, object], why: str) -> None:
    refused(http.post("/add_point_interaction", json=POINT | change), 400, why)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b'{"coordinates": [NaN, 1, 2], "include_interaction": true}', 400, "NaN is no number"),
        (b'{"coordinates": [1, Infinity, 2]}', 400, "Infinity is no number"),
        (b"[1, 2]", 400, "give a JSON object"),
        (b"{", 400, "no JSON"),
        (b"\xff\xfe\x00", 400, "no JSON"),
        (b"[" * 60_000, 400, "no JSON"),
        (b'{"coordinates": ' + b"9" * 5000 + b"}", 400, "no JSON"),
        (b" " * (1 << 16) + b"{}", 413, "at most 65,536"),
        (b"", 400, "give true or false"),
    ],
)
def test_a_body_that_is_no_json(http: httpx.Client, body: bytes, status: int, why: str) -> None:
    refused(http.post("/add_point_interaction", content=body), status, why)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ([[5, 5], [1, 9], [1, 9]], "the lower first"),
        ([[9, 5], [1, 9], [1, 9]], "the lower first"),
        ([[90, 95], [1, 9], [1, 9]], "outside the volume"),
        ([[-9, -2], [1, 9], [1, 9]], "outside the volume"),
        ([[1, 9], [1, 9]], "give [[z0, z1]"),
        ([[1, 9], [1, 9], [1]], "give 2 numbers"),
        ([[1, 9], [1, 9], "ab"], "give 2 numbers"),
        (None, "give [[z0, z1]"),
    ],
)
@pytest.mark.parametrize("positive", [True, False])
def test_a_box_that_is_none(http: httpx.Client, box: object, why: str, positive: bool) -> None:
    answer = http.post("/add_bbox_interaction", json={"bbox_coords": box, "include_interaction": positive})
    refused(answer, 400, why)


def test_a_box_may_reach_outside(http: httpx.Client) -> None:
    box = {"bbox_coords": [[-4, 99], [-1e9, 1e9], [0, 23]], "include_interaction": True}
    answer = http.post("/add_bbox_interaction", json=box)
    assert answer.status_code == 200
    assert json.loads(answer.headers[META])["ran_prediction"] is True


@pytest.mark.parametrize("path", ["/add_scribble_interaction", "/add_lasso_interaction"])
@pytest.mark.parametrize(
    ("mask", "where", "why"),
    [
        (np.ones((1, 4, 5), np.uint8), [[12, 13], [14, 18], [16, 22]], "shape"),
        (np.ones((1, 4, 5), np.uint8), None, "shape"),
        (np.ones((1, 4, 5), np.uint8), [[12, 13], [46, 50], [16, 21]], "inside it"),
        (np.ones((1, 4, 5), np.uint8), [[-1, 0], [4, 8], [16, 21]], "inside it"),
        (np.ones((1, 4, 5), np.uint8), [[0.5, 1.5], [4, 8], [16, 21]], "inside it"),
        (np.ones((1, 4, 5), np.uint8), [[1, 0], [4, 8], [16, 21]], "the lower first"),
        (np.ones((1, 4, 5), np.uint8), "everywhere", "give [[z0, z1]"),
        (np.zeros((1, 4, 5), np.uint8), [[12, 13], [14, 18], [16, 21]], "empty"),
        (np.full((1, 4, 5), np.nan, np.float32), [[12, 13], [14, 18], [16, 21]], "NaN"),
        (np.ones((5,), np.uint8), [[12, 13], [14, 18], [16, 21]], "shape"),
        (np.ones((1 << 20,), np.uint8), [[12, 13], [14, 18], [16, 21]], "shape"),
    ],
)
def test_a_mask_that_does_not_fit(
    http: httpx.Client, path: str, mask: np.ndarray, where: object, why: str
) -> None:
    headers = meta(include_interaction=True, interaction_bbox=where)
    refused(http.post(path, content=pack(mask), headers=headers), 400, why)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("{", "no JSON"),
        ("[]", "give a JSON object"),
        ("{}", "give true or false"),
        ('{"a": NaN}', "no number"),
    ],
)
def test_a_header_that_is_no_json(http: httpx.Client, header: str, why: str) -> None:
    body = pack(np.ones(SHAPE, bool))
    refused(http.post("/add_lasso_interaction", content=body, headers={META: header}), 400, why)


def test_an_initial_mask_of_another_shape(http: httpx.Client) -> None:
    refused(http.post("/add_initial_seg_interaction", content=pack(np.ones((2, 2, 2), bool))), 400, "shape")
    everywhere = np.full(SHAPE, np.inf, np.float32)
    refused(http.post("/add_initial_seg_interaction", content=pack(everywhere)), 400, "infinity")


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (pack(scene()), 400, "one channel"),
        (pack(np.ones((3, 4, 5, 6), np.uint8)), 400, "one channel"),
        (pack(np.zeros((1, 128, 128, 128), np.uint8)), 413, "2,097,152 bytes"),
        (pack(np.full((1, 4, 5, 6), np.nan, np.float32)), 400, "no finite voxel"),
        (pack(scene()[None])[:-5], 400, "longer or shorter"),
        (b"", 400, "ends too early"),
        (b"\x80\x04\x95cos\nsystem\n", 400, "cannot be read"),
    ],
)
def test_an_image_that_is_none(http: httpx.Client, body: bytes, status: int, why: str) -> None:
    refused(http.post("/set_image", content=body), status, why)


@pytest.mark.parametrize("spacing", [[0, 1, 1], [1, 1], "1", [1, 1, None], [1e99, 1, 1]])
def test_a_spacing_that_is_none(http: httpx.Client, spacing: object) -> None:
    headers = meta(image_properties={"spacing": spacing})
    refused(http.post("/set_image", content=pack(scene()[None]), headers=headers), 400, "spacing")
    refused(http.post("/set_image", content=b"", headers=meta(image_properties=[1])), 400, "JSON object")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"shape": [24, 48, 41], "dtype": "uint8"}, "shape"),
        ({"shape": [1 << 40, 1 << 40, 1 << 40], "dtype": "uint8"}, "shape"),
        ({"shape": "big", "dtype": "uint8"}, "shape"),
        ({"dtype": "uint8"}, "shape"),
        ({"shape": list(SHAPE), "dtype": "float32"}, "integer type"),
        ({"shape": list(SHAPE), "dtype": "object"}, "integer type"),
        ({"shape": list(SHAPE), "dtype": "u1,u1"}, "integer type"),
        ({"shape": list(SHAPE), "dtype": ["u1"]}, "integer type"),
        ({"shape": list(SHAPE)}, "integer type"),
    ],
)
def test_a_buffer_that_is_none(http: httpx.Client, values: dict[str, object], why: str) -> None:
    refused(http.post("/set_target_buffer", json=values), 400, why)


def test_a_body_that_is_too_long_or_never_ends(http: httpx.Client, running: Running) -> None:
    most = LIMITS.volume_bytes + (1 << 20)
    refused(http.post("/set_image", content=b"x" * (most + 1)), 413, "give at most 2,097,152")
    # Without a length; the server stops reading, and says so.
    chunks = (b"x" * (1 << 16) for _ in range(64))
    refused(http.post("/set_image", content=chunks), 413, "more than 2,097,152")
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as stalled:
        stalled.sendall(
            b"POST /set_image HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n"
            + f"{LEASE}: {http.headers[LEASE]}\r\n\r\n".encode()
            + b"NNIA"
        )
        assert b"408" in stalled.recv(1000)


def test_nobody_s_lease_is_guessed(http: httpx.Client) -> None:
    for token in ("", "0" * 32, "../../etc", "x" * 4000):
        answer = http.post("/heartbeat", headers={LEASE: token})
        assert answer.status_code == 410
    assert http.post("/release", headers={LEASE: "0" * 32}).json() == {"released": True}


def test_before_an_image_there_is_nothing_to_segment(running: Running) -> None:
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        client.headers[LEASE] = client.post("/claim").json()["lease_token"]
        refused(client.post("/add_point_interaction", json=POINT), 400, "call set_volume first")
        refused(client.post("/undo"), 400, "no image")
        headers = meta(include_interaction=True)
        refused(client.post("/add_lasso_interaction", content=b"", headers=headers), 400, "no image")
        refused(client.post("/add_initial_seg_interaction", content=b""), 400, "no image")
        refused(
            client.post("/set_target_buffer", json={"shape": [1, 1, 1], "dtype": "bool"}), 400, "no image"
        )
        assert client.post("/reset_interactions").json() == {}
        assert json.loads(client.post("/predict").headers[META]) == {"ran_prediction": False, "bbox": None}
        client.post("/release")


def test_what_fails_unexpectedly_is_said_and_others_go_on(http: httpx.Client, running: Running) -> None:
    lease = running.service.leases._held[http.headers[LEASE]]
    engine = lease.state.session.engine
    try:
        for error, status in [(RuntimeError("a\nb" * 500), 500), (MemoryError(), 413)]:

            class Broken(Engine):
                def __init__(self, error: Exception) -> None:
                    self.error = error

                def answers(self, *_: object) -> object:  # type: ignore[override]
                    raise self.error

            lease.state.session.engine = Broken(error)
            refused(http.post("/add_point_interaction", json=POINT), status, "")
    finally:
        lease.state.session.engine = engine


def test_other_sites_get_nothing(http: httpx.Client, running: Running) -> None:
    refused(http.get("/healthz", headers={"Origin": "http://evil.example"}), 403, "must not ask")
    refused(http.post("/claim", headers={"Origin": "null"}), 403, "must not ask")
    answer = http.options(
        "/claim", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 403
    # Another's name for this machine.
    refused(http.get("/healthz", headers={"Host": "evil.example:1527"}), 403, "no token")
    refused(http.get("/healthz", headers={"Host": "[::"}), 403, "no token")
    own = http.get("/healthz", headers={"Origin": running.url})
    assert own.json() == {"ok": True}
    assert not [name for name in own.headers if name.startswith("access-control")]


def test_other_paths_and_methods_are_said_to_be_wrong(http: httpx.Client) -> None:
    refused(http.get("/docs"), 404, "Not Found")
    refused(http.get("/openapi.json"), 404, "Not Found")
    refused(http.get("/claim"), 405, "Method Not Allowed")
    refused(http.post("/" + "a" * 5000), 404, "Not Found")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
KEYS = [
    "coordinates",
    "bbox_coords",
    "include_interaction",
    "run_prediction",
    "shape",
    "dtype",
    "do_autozoom",
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["/add_point_interaction", "/add_bbox_interaction", "/set_target_buffer", "/set_do_autozoom"]
    ),
    st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4),
)
def test_any_json_is_answered(http: httpx.Client, path: str, values: dict[str, object]) -> None:
    answer = http.post(path, json=values)
    assert answer.status_code in (200, 400), answer.text
    # The neighbour's next answer needs a buffer.
    http.post("/set_target_buffer", json={"shape": list(SHAPE), "dtype": "uint8"})
