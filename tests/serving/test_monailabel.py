"""MONAI Label's REST: a session with an image, clicks on it, and the mask as a file in the same place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from email import message_from_bytes

import httpx
import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import SHAPE, Running, scene, served

from lexor import Session
from lexor.inference.engine import Engine
from lexor.serving import monailabel
from lexor.serving.limits import Limits
from lexor.serving.nifti import read_nifti
from lexor.serving.refusal import Refusal

LIMITS = Limits(sessions=2, volume_bytes=1 << 20)
AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1, 0, -7], [0, 0, 2, 5], [0, 0, 0, 1]])


def nifti(volume: np.ndarray | None = None) -> bytes:
    """A file of a volume (z, y, x); of the scene, if none is given."""
    volume = scene() if volume is None else volume
    return nibabel.Nifti1Image(volume.T, AFFINE).to_bytes()


@pytest.fixture(scope="module")
def running(bright: Engine) -> Iterator[Running]:
    with served(bright, LIMITS, protocols=(monailabel.routes,)) as server:
        yield server


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def session(http: httpx.Client) -> Iterator[str]:
    answer = http.put("/session/", files={"files": ("scan.nii.gz", gzip.compress(nifti()))})
    assert answer.status_code == 200, answer.text
    assert answer.json()["session_info"]["image"] == "scan.nii.gz"
    yield answer.json()["session_id"]
    http.delete(f"/session/{answer.json()['session_id']}")


@pytest.fixture
def direct(bright: Engine) -> Session:
    session = Session(engine=bright)
    session.set_volume(scene(), (2.0, 1.0, 1.0))
    return session


def infer(http: httpx.Client, session: str, output: str = "all", **params: object) -> httpx.Response:
    return http.post(
        "/infer/lexor",
        params={"image": "", "session_id": session, "output": output},
        files={"params": (None, json.dumps(params))},
    )


def parts(answer: httpx.Response) -> tuple[dict[str, object], np.ndarray]:
    """What is told, and the mask (z, y, x), from a reply of two parts."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    told, file = message_from_bytes(head + answer.content).get_payload()
    assert file.get_filename() == "mask.nii.gz"  # type: ignore[union-attr]
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(file.get_payload(decode=True)))  # type: ignore[union-attr, arg-type]
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert image.get_data_dtype() == np.uint8
    return json.loads(told.get_payload()), np.asarray(image.dataobj).T  # type: ignore[union-attr, arg-type]


def test_it_says_what_it_can(http: httpx.Client) -> None:
    info = http.get("/info/").json()
    assert info["name"] == "Lexor"
    assert info["labels"] == ["object"]
    assert info["models"]["lexor"]["type"] == "deepgrow"
    assert info["models"]["lexor"]["dimension"] == 3
    assert info["models"]["lexor"]["labels"] == {"object": 1}
    assert info["datastore"] == info["trainers"] == info["strategies"] == info["scoring"] == {}


def test_clicks_are_answered_as_a_session_answers(http: httpx.Client, session: str, direct: Session) -> None:
    told, mask = parts(infer(http, session, foreground=[[14, 15, 12]], background=[]))
    np.testing.assert_array_equal(mask, direct.click((12, 15, 14)))
    assert told["label_names"] == {"object": 1}
    # One more click goes on from there; all of them are said again.
    _, mask = parts(infer(http, session, foreground=[[14, 15, 12], [28, 34, 12]]))
    np.testing.assert_array_equal(mask, direct.click((12, 34, 28)))
    # Others begin anew, and are answered together.
    _, mask = parts(infer(http, session, foreground=[[28, 34, 12]], background=[[14, 15, 12]]))
    direct.clear()
    direct.click((12, 34, 28), later=True)
    direct.click((12, 15, 14), positive=False, later=True)
    np.testing.assert_array_equal(mask, direct.answer())
    image = infer(http, session, "image", foreground=[[28, 34, 12]]).content
    assert nibabel.Nifti1Image.from_bytes(gzip.decompress(image)).shape == SHAPE[::-1]
    assert infer(http, session, "json", foreground=[[28, 34, 12]]).json()["label_names"] == {"object": 1}


def test_an_image_may_come_with_the_clicks(http: httpx.Client, running: Running, direct: Session) -> None:
    files = {
        "params": (None, json.dumps({"foreground": [[14, 15, 12]]})),
        "file": ("scan.nii", nifti()),
    }
    _, mask = parts(http.post("/infer/lexor?image=", files=files))  # type: ignore[arg-type]
    np.testing.assert_array_equal(mask, direct.click((12, 15, 14)))
    assert len(running.service.leases) == 0


def test_sessions_are_shown_and_end(http: httpx.Client, session: str) -> None:
    shown = http.get(f"/session/{session}").json()
    assert (shown["name"], shown["image"]) == (session, "scan.nii.gz")
    assert http.delete(f"/session/{session}").json()["name"] == session
    assert http.get(f"/session/{session}").status_code == 404
    assert http.delete(f"/session/{session}").status_code == 404
    assert infer(http, session, foreground=[[1, 1, 1]]).status_code == 404


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({}, "there is no click"),
        ({"foreground": [], "background": []}, "there is no click"),
        ({"foreground": [[1, 2]]}, "give 3 numbers"),
        ({"foreground": [[1, 2, 99]]}, "outside the volume"),
        ({"foreground": [[1, 2, -1]]}, "outside the volume"),
        ({"foreground": [[28, 34, 12], [1, 2, -1]]}, "outside the volume"),
        ({"foreground": "all"}, "give at most 1000 points"),
        ({"background": [[1, 1, 1]] * 1001}, "give at most 1000 points"),
    ],
)
def test_clicks_that_are_none(
    http: httpx.Client, session: str, direct: Session, params: dict[str, object], why: str
) -> None:
    answer = infer(http, session, **params)
    assert answer.status_code == 400
    assert why in answer.json()["detail"]
    # What is wrong leaves nothing behind.
    _, mask = parts(infer(http, session, foreground=[[14, 15, 12]]))
    np.testing.assert_array_equal(mask, direct.click((12, 15, 14)))


def test_what_is_not_offered_is_said(http: httpx.Client, session: str, running: Running) -> None:
    assert http.post("/infer/spleen").status_code == 404
    assert infer(http, session, "dicom_seg", foreground=[[1, 1, 1]]).status_code == 400
    files = {"params": (None, '{"foreground": [[1, 1, 1]]}'), "label": ("s.nii", nifti())}
    answer = http.post(f"/infer/lexor?session_id={session}", files=files)  # type: ignore[arg-type]
    assert "scribbles in a label file are not taken" in answer.json()["detail"]
    before = len(running.service.leases)
    assert http.put("/session/", files={"files": ("scan.nii", b"junk" * 200)}).status_code == 400
    assert http.put("/session/", files={"other": ("scan.nii", nifti())}).status_code == 400
    assert len(running.service.leases) == before


def header_of(**changes: object) -> bytes:
    """A file whose header says something else."""
    header = nibabel.Nifti1Header.from_fileobj(__import__("io").BytesIO(nifti()))
    for key, value in changes.items():
        header[key] = value
    return header.binaryblock + nifti()[348:]


@pytest.mark.parametrize(
    ("file", "status", "why"),
    [
        (b"", 400, "cannot be read as NIfTI"),
        (nifti()[:400], 400, "cannot be read as NIfTI"),
        (nifti(np.zeros((2, 3, 4, 5), np.uint8)), 400, "one volume"),
        (nifti(np.zeros((2, 3, 4), np.complex64)), 400, "real numbers"),
        (header_of(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), 413, "1,048,576"),
        (header_of(dim=[3, -5, 48, 24, 1, 1, 1, 1]), 400, ""),
        (header_of(datatype=9999), 400, "cannot be read as NIfTI"),
        (gzip.compress(bytes(1 << 24)), 413, "2,097,152"),
        (gzip.compress(nifti())[:-30], 400, "cut off"),
    ],
)
def test_a_file_that_is_none(file: bytes, status: int, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_nifti(file, 1 << 20)
    assert caught.value.status == status
    assert why in caught.value.detail


@given(st.integers(0, 2**32 - 1))
def test_whatever_is_damaged_nothing_but_a_refusal_comes_of_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    file = bytearray(nifti(np.zeros((3, 4, 5), np.int16)))
    for place in rng.integers(0, 348, rng.integers(1, 12)):
        file[place] = rng.integers(256)
    try:
        volume, _, spacing = read_nifti(bytes(file), 1 << 16)
    except Refusal:
        return
    assert volume.ndim == 3
    assert volume.nbytes <= 1 << 16
    assert spacing is None or min(spacing) > 0
