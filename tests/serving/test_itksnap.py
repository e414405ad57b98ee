"""ITK-SNAP's protocol, in the requests that ITK-SNAP sends."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from running import SHAPE, Running, scene, served

from lexor import Session
from lexor.inference.engine import Engine
from lexor.serving import itksnap
from lexor.serving.limits import Limits

LIMITS = Limits(sessions=2, volume_bytes=1 << 20)
SIZE = [SHAPE[2], SHAPE[1], SHAPE[0]]


@pytest.fixture(scope="module")
def running(bright: Engine) -> Iterator[Running]:
    with served(bright, LIMITS, protocols=(itksnap.routes,)) as server:
        yield server


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client:
        yield client


def form(array: np.ndarray, **changes: object) -> dict[str, object]:
    metadata = {"dimensions": SIZE, "components_per_pixel": 1, "spacing": [1.0, 1.0, 2.0]} | changes
    packed = gzip.compress(array.astype("<f4").tobytes())
    return {"files": {"file": ("image.gz", packed)}, "data": {"metadata": json.dumps(metadata)}}


@pytest.fixture
def session(http: httpx.Client) -> Iterator[str]:
    number = http.get("/v2/start_session/Lexor").json()["session_id"]
    answer = http.post(f"/v2/upload_raw/{number}", **form(scene()))  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    yield number
    http.get(f"/v2/end_session/{number}")


@pytest.fixture
def direct(bright: Engine) -> Session:
    session = Session(engine=bright)
    session.set_volume(scene(), (2.0, 1.0, 1.0))
    return session


def mask_of(answer: httpx.Response) -> np.ndarray:
    assert answer.json()["status"] == "success"
    packed = base64.b64decode(answer.json()["result"])
    return np.frombuffer(gzip.decompress(packed), np.int8).reshape(SHAPE)


def test_it_says_what_it_can(http: httpx.Client) -> None:
    assert http.get("/status").json()["status"] == "ok"
    [model] = http.get("/v2/models").json()["models"]
    kinds = ["point", "scribble", "lasso"]
    assert model == {"id": "Lexor", "channels": [1], "dimensions": 3, "interactions": kinds}


def test_points_scribbles_and_lassos_are_answered_as_a_session_answers(
    http: httpx.Client, session: str, direct: Session
) -> None:
    point = {"point": [14, 15, 12], "foreground": "true"}
    answer = http.get(f"/v2/process_point_interaction/{session}", params=point)
    np.testing.assert_array_equal(mask_of(answer), direct.click((12, 15, 14)))
    old = {"x": 20, "y": 14, "z": 12}
    answer = http.get(f"/process_point_interaction/{session}", params=old)
    np.testing.assert_array_equal(mask_of(answer), direct.click((12, 14, 20), positive=False))
    region = np.zeros(SHAPE, np.uint8)
    region[12, 30:36, 28] = 1
    path = f"/process_scribble_interaction/{session}?foreground=true"
    np.testing.assert_array_equal(mask_of(http.post(path, **form(region))), direct.scribble(region))  # type: ignore[arg-type]
    path = f"/process_lasso_interaction/{session}?foreground=false"
    found = mask_of(http.post(path, **form(region)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, direct.lasso(region, positive=False))
    assert http.get(f"/v2/reset_interactions/{session}").json() == {"status": "success"}
    direct.clear()
    answer = http.get(f"/v2/process_point_interaction/{session}", params=point)
    np.testing.assert_array_equal(mask_of(answer), direct.click((12, 15, 14)))


def test_sessions_end_and_those_that_are_none_are_said_to_be(http: httpx.Client, session: str) -> None:
    second = http.get("/start_session").json()["session_id"]
    assert http.get("/start_session").status_code == 503
    assert http.get(f"/end_session/{second}").json() == {"message": "Session ended"}
    assert http.get(f"/end_session/{second}").json() == {"message": "Invalid session"}
    for path in ("v2/process_point_interaction", "reset_interactions"):
        assert http.get(f"/{path}/{second}").json() == {"error": "Invalid session"}
    for path in ("upload_raw", "process_scribble_interaction", "process_lasso_interaction"):
        assert http.post(f"/{path}/{second}").json() == {"error": "Invalid session"}
    assert http.get("/v2/start_session/SAM2").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        ({"dimensions": [40, 48, 25]}, 400, "give 192,000 bytes"),
        ({"dimensions": [40, 48, 23]}, 400, "176,640 bytes"),
        ({"dimensions": [4000, 4800, 2400]}, 413, "give at most 1,048,576"),
        ({"dimensions": [10**300, 1, 1]}, 400, "give 3 numbers"),
        ({"dimensions": [0, 48, 24]}, 400, "above 0"),
        ({"dimensions": [1.5, 48, 24]}, 400, "above 0"),
        ({"dimensions": "big"}, 400, "give 3 numbers"),
        ({"components_per_pixel": 3}, 400, "give one"),
        ({"spacing": [1, 0, 1]}, 400, "spacing"),
    ],
)
def test_an_image_that_is_none(
    http: httpx.Client, session: str, change: dict[str, object], status: int, why: str
) -> None:
    answer = http.post(f"/upload_raw/{session}", **form(scene(), **change))  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    assert why in answer.json()["detail"]
    # The image from before is still there.
    point = {"point": [14, 15, 12], "foreground": "true"}
    assert mask_of(http.get(f"/v2/process_point_interaction/{session}", params=point)).any()


def test_forms_that_are_none(http: httpx.Client, session: str) -> None:
    def refused(why: str, **request: object) -> None:
        answer = http.post(f"/upload_raw/{session}", **request)  # type: ignore[arg-type]
        assert answer.status_code == 400, answer.text
        assert why in answer.json()["detail"]

    packed = gzip.compress(scene().astype("<f4").tobytes())
    good = form(scene())
    refused("has no file 'file'", data={"metadata": "{}"}, files={"other": b""})
    refused("cannot be read", content=b"x" * 50, headers={"content-type": "multipart/form-data; boundary=a"})
    refused("cannot be read", content=b"x" * 50, headers={"content-type": "multipart/form-data"})
    refused("no JSON", **good | {"data": {"metadata": "{"}})
    refused("no gzip file", **good | {"files": {"file": b"plain"}})
    refused("cut off", **good | {"files": {"file": packed[:-20]}})
    refused("cut off", **good | {"files": {"file": packed + packed}})
    # A bomb: it stops where the image's size ends.
    refused("bytes or more", **good | {"files": {"file": gzip.compress(bytes(1 << 26))}})
    many = [("file", (f"{i}", b"1")) for i in range(9)]
    refused("cannot be read", data={"metadata": "{}"}, files=many)
    assert http.post(f"/upload_raw/{session}", files={"file": b"x" * (5 << 20)}).status_code == 413


@pytest.mark.parametrize(
    "query", ["point=1&point=2", "x=1&y=2", "point=nan&point=1&point=1", "x=a&y=1&z=1", ""]
)
def test_points_that_are_none(http: httpx.Client, session: str, query: str) -> None:
    answer = http.get(f"/v2/process_point_interaction/{session}?{query}")
    assert answer.status_code == 400
    assert "point is" in answer.json()["detail"]
    other = http.get(f"/v2/process_point_interaction/{session}?x=1&y=1&z=1&foreground=maybe")
    assert "foreground is 'maybe'" in other.json()["detail"]


def test_pictures_of_other_sites_start_nothing(http: httpx.Client) -> None:
    answer = http.get("/start_session", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "another site" in answer.json()["detail"]
