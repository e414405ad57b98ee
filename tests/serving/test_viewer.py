"""The viewer's requests: who may ask, what is answered, and that what fails changes nothing."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
from looking import TOKEN, looking, shown, stranger

from lexor.inference.engine import Engine
from lexor.io.scan import Scan, read_mask
from lexor.io.scans.nifti import read_nifti
from lexor.serving.annotation import Annotation
from lexor.serving.opening import Opened, open_scan
from lexor.serving.viewer import MOST_BYTES, MOST_SCRIBBLED

SHAPE = (12, 20, 24)
# To the left, to the back, up, and a little oblique.
AFFINE = np.array([[-1.0, 0.1, 0, 30], [-0.1, -1.0, 0, 40], [0, 0, 2.0, -50], [0, 0, 0, 1]])


def blob() -> np.ndarray:
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    inside: np.ndarray = ((z - 6) / 4) ** 2 + ((y - 9) / 5) ** 2 + ((x - 15) / 5) ** 2 <= 1
    return inside


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    volume = (20 + 180 * blob()).astype(np.int16)
    nib.save(nib.nifti1.Nifti1Image(volume.transpose(2, 1, 0), AFFINE), tmp_path / "head_T1w.nii.gz")
    return read_nifti(tmp_path / "head_T1w.nii.gz")


@pytest.fixture
def opened(scan: Scan, bright: Engine) -> Iterator[Opened]:
    found = open_scan(scan, bright)
    yield found
    found.annotation.close()


@pytest.fixture
def client(opened: Opened) -> Iterator[httpx.Client]:
    with looking(opened) as client:
        yield client


def unpacked(content: bytes) -> tuple[dict[str, Any], np.ndarray | None]:
    (length,) = struct.unpack("<I", content[:4])
    head = json.loads(content[4 : 4 + length])
    if head["shape"] is None:
        assert len(content) == 4 + length
        return head, None
    return head, np.frombuffer(content[4 + length :], np.uint8).reshape(head["shape"][::-1])


def labels_of(client: httpx.Client) -> np.ndarray:
    found = unpacked(client.get("/api/labels").content)[1]
    assert found is not None
    return found


def post(client: httpx.Client, path: str, body: object = None) -> tuple[dict[str, Any], np.ndarray | None]:
    reply = client.post(f"/api/{path}") if body is None else client.post(f"/api/{path}", json=body)
    assert reply.status_code == 200, reply.text
    return unpacked(reply.content)


def in_view(opened: Opened, volume: np.ndarray) -> np.ndarray:
    return opened.annotation.orientation.to_view(volume)


def box_of_blob(opened: Opened) -> dict[str, Any]:
    z, y, x = np.nonzero(in_view(opened, blob()))
    return {
        "first": [int(x.min()), int(y.min()), int(z.min())],
        "last": [int(x.max()), int(y.max()), int(z.max())],
    }


def middle_of_blob(opened: Opened) -> list[int]:
    return list(opened.annotation.orientation.seen((6, 9, 15)))


# --- who may ask


def test_only_who_has_the_token_gets_in(opened: Opened) -> None:
    with shown(opened) as url, stranger(url, redirects=False) as client:
        cookie = f"lexor-{url.rpartition(':')[2]}"
        for path in ("/", "/?token=guess", "/?token=", "/api/scan", "/api/volume.nii", "/static/app.js"):
            reply = client.get(path)
            assert (reply.status_code, "token" in reply.json()["detail"]) == (403, True), path
        assert client.post("/api/undo").status_code == 403
        assert client.get("/api/scan", headers={"Cookie": f"{cookie}=guess"}).status_code == 403
        assert client.get("/api/scan", headers={"Cookie": f"lexor-1={TOKEN}"}).status_code == 403
        reply = client.get(f"/?token={TOKEN}")
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        assert reply.headers["set-cookie"] == f"{cookie}={TOKEN}; HttpOnly; Path=/; SameSite=strict"
        assert client.get("/").status_code == 200


def test_what_a_browser_is_started_with_is_good_once(opened: Opened) -> None:
    with shown(opened, "once") as url:
        with stranger(url) as client:
            assert client.get("/?token=once").status_code == 200
            assert client.get("/api/scan").status_code == 200
        with stranger(url) as client:
            assert client.get("/?token=once").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8000"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
    ],
)
def test_other_sites_are_refused_even_with_the_cookie(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.get("/api/scan", headers=headers).status_code == 403
    assert client.post("/api/clear", headers=headers).status_code == 403
    own = {"Origin": str(client.base_url).rstrip("/")}
    assert client.get("/api/scan", headers=own).status_code == 200


def test_pages_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/", "/static/app.js", "/api/scan", "/nowhere"):
        headers = client.get(path).headers
        policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    page = client.get("/").text
    assert "http" not in page
    assert "style=" not in page
    assert "onclick" not in page


# --- what is shown


def test_the_volume_comes_along_the_patients_axes(client: httpx.Client, opened: Opened, scan: Scan) -> None:
    told = client.get("/api/scan").json()
    assert (told["name"], told["modality"], told["placed"]) == ("head_T1w", "MR", True)
    assert told["shape"] == [24, 20, 12]
    image = nib.nifti1.Nifti1Image.from_bytes(client.get("/api/volume.nii").content)
    assert image.get_data_dtype() == np.int16
    assert nib.orientations.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.header.get_zooms(), told["spacing"], rtol=1e-6)
    voxels = np.asanyarray(image.dataobj)
    for at in ((0, 0, 0), (5, 17, 3), (23, 19, 11)):
        z, y, x = opened.annotation.orientation.voxel(at)
        assert voxels[at] == scan.voxels[z, y, x]
        there = np.array(told["affine"]) @ (*at, 1)
        np.testing.assert_allclose(there, AFFINE @ (x, y, z, 1))


def test_a_volume_of_any_numbers_can_be_drawn(bright: Engine, scan: Scan) -> None:
    values = scan.voxels.astype(np.float64)
    values[0, 0, 0] = np.nan
    found = open_scan(replace(scan, voxels=values), bright)
    with looking(found) as client:
        image = nib.nifti1.Nifti1Image.from_bytes(client.get("/api/volume.nii").content)
        assert image.get_data_dtype() == np.float32
        assert np.isfinite(image.get_fdata()).all()
        windows = client.get("/api/scan").json()["windows"]
        assert windows[1] == {"name": "Full range", "low": 20.0, "high": 200.0}
    found.annotation.close()


def test_ct_has_its_windows(bright: Engine, scan: Scan) -> None:
    found = open_scan(replace(scan, modality="CT", unit="HU"), bright)
    with looking(found) as client:
        told = client.get("/api/scan").json()
    assert told["unit"] == "HU"
    assert {"name": "Lung", "low": -1350.0, "high": 150.0} in told["windows"]
    assert told["windows"][0]["name"] == "Soft tissue"
    found.annotation.close()


# --- steps


def test_a_box_and_clicks_change_the_mask_and_undo_brings_it_back(
    client: httpx.Client, opened: Opened
) -> None:
    head, changed = post(client, "box", {**box_of_blob(opened), "drawn_on": middle_of_blob(opened)})
    assert changed is not None
    labels = labels_of(client)
    # Only the changed box was sent, and all of it lies in the box that was drawn.
    (x, y, z), (width, height, depth) = head["first"], head["shape"]
    expected = np.zeros_like(labels)
    expected[z : z + depth, y : y + height, x : x + width] = changed
    np.testing.assert_array_equal(labels, expected)
    assert changed.any(axis=(1, 2)).all()
    assert labels[tuple(middle_of_blob(opened)[::-1])] == 1
    (state,) = head["state"]["objects"]
    assert state["voxels"] == np.count_nonzero(labels)
    assert state["box"] == [box_of_blob(opened)["first"], box_of_blob(opened)["last"]]

    at = [2, 2, 2]
    head, _ = post(client, "click", {"at": at})
    assert labels_of(client)[2, 2, 2] == 1
    assert head["state"]["objects"][0]["clicks"] == [[*at, True]]
    inside = middle_of_blob(opened)
    post(client, "click", {"at": inside, "positive": False})
    assert labels_of(client)[tuple(inside[::-1])] == 0
    post(client, "undo")
    assert labels_of(client)[tuple(inside[::-1])] == 1
    head, _ = post(client, "undo")
    np.testing.assert_array_equal(labels_of(client), labels)
    post(client, "clear")
    assert not labels_of(client).any()
    post(client, "undo")
    np.testing.assert_array_equal(labels_of(client), labels)


def test_a_scribble_is_kept_voxel_for_voxel(client: httpx.Client, opened: Opened) -> None:
    x, y, z = middle_of_blob(opened)
    points = [[y, z - 1], [y, z], [y + 1, z]]
    post(client, "scribble", {"axis": 0, "slice": x, "points": points})
    labels = labels_of(client)
    assert all(labels[b, a, x] == 1 for a, b in points)
    post(client, "scribble", {"axis": 2, "slice": z, "points": [[x, y]], "positive": False})
    assert labels_of(client)[z, y, x] == 0


def test_objects_have_names_colours_and_locks(client: httpx.Client, opened: Opened) -> None:
    post(client, "box", box_of_blob(opened))
    first = labels_of(client)
    head, _ = post(client, "objects")
    assert head["state"]["current"] == 2
    reply = client.patch(
        "/api/objects/1", json={"name": " <img src=x> ", "colour": "#ABCDEF", "locked": True}
    )
    one = unpacked(reply.content)[0]["state"]["objects"][0]
    assert (one["name"], one["colour"], one["locked"]) == ("<img src=x>", "#abcdef", True)
    # What is locked, others cannot take.
    post(client, "box", box_of_blob(opened))
    np.testing.assert_array_equal(labels_of(client) == 1, first == 1)
    head, _ = post(client, "objects/1/select")
    assert head["state"]["current"] == 1
    for body in ({"name": ""}, {"name": "a\nb"}, {"colour": "url(x)"}, {"size": 3}, {"locked": "yes"}):
        assert client.patch("/api/objects/1", json=body).status_code in (400, 422), body
    assert client.patch("/api/objects/9", json={"name": "a"}).status_code == 422
    assert client.post("/api/objects/9/select").status_code == 422
    head = unpacked(client.get("/api/labels").content)[0]
    assert head["state"]["objects"][0]["name"] == "<img src=x>"


def test_revisions_tell_a_second_window_that_it_missed_something(
    client: httpx.Client, opened: Opened
) -> None:
    head, _ = post(client, "click", {"at": middle_of_blob(opened)})
    assert (head["before"], head["after"]) == (0, 1)
    head, changed = post(client, "objects")
    assert (head["before"], head["after"], changed) == (1, 2, None)
    assert unpacked(client.get("/api/labels").content)[0]["after"] == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("click", {"at": [24, 0, 0]}, 422, "outside of the volume"),
        ("click", {"at": [-1, 0, 0]}, 400, "at.0"),
        ("click", {"at": [1 << 40, 0, 0]}, 400, "at.0"),
        ("click", {"at": [1.5, 0, 0]}, 400, "at.0"),
        ("click", {"at": "abc"}, 400, "at"),
        ("click", {}, 400, "at"),
        ("click", {"at": [1, 1, 1], "positive": "no"}, 400, "positive"),
        ("click", [1, 2], 400, "the body"),
        ("box", {"first": [0, 0, 0], "last": [99, 9, 9]}, 422, "outside of the volume"),
        ("scribble", {"axis": 3, "slice": 0, "points": [[0, 0]]}, 400, "axis"),
        ("scribble", {"axis": 0, "slice": 0, "points": []}, 400, "points"),
        ("scribble", {"axis": 0, "slice": 99, "points": [[0, 0]]}, 422, "leaves the volume"),
        ("scribble", {"axis": 0, "slice": 0, "points": [[0, 0]] * (MOST_SCRIBBLED + 1)}, 400, "points"),
        ("undo", None, 422, "nothing to undo"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    client: httpx.Client, opened: Opened, path: str, body: object, status: int, message: str
) -> None:
    before = client.get("/api/labels").content
    reply = client.post(f"/api/{path}", json=body)
    assert reply.status_code == status
    assert message in reply.json()["detail"]
    assert "\n" not in reply.json()["detail"]
    assert client.get("/api/labels").content == before


def test_bodies_are_bounded_and_json(client: httpx.Client) -> None:
    json_type = {"Content-Type": "application/json"}
    assert client.post("/api/click", content=b"x" * (MOST_BYTES + 1), headers=json_type).status_code == 413
    chunks = (b"x" * 65536 for _ in range(20))
    assert client.post("/api/click", content=chunks, headers=json_type).status_code == 413
    assert client.post("/api/click", content=b"{", headers=json_type).status_code == 400
    assert client.post("/api/click", content=b"[" * 100_000, headers=json_type).status_code == 400
    plain = {"Content-Type": "text/plain"}
    assert client.post("/api/click", content=b'{"at":[1,1,1]}', headers=plain).status_code == 415
    for path in (
        "/static/../viewer.py",
        "/static/%2e%2e/viewer.py",
        "/api/nothing",
        "/docs",
        "/openapi.json",
    ):
        assert client.get(path).status_code == 404, path


def test_what_nobody_foresaw_is_told_and_changes_nothing(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the GPU is gone")

    with looking(opened) as client:
        post(client, "box", box_of_blob(opened))
        before = client.get("/api/labels").content
        monkeypatch.setattr(Engine, "answers", broken)
        reply = client.post("/api/click", json={"at": [1, 1, 1]})
        assert reply.status_code == 500
        assert reply.json()["detail"] == ("Lexor failed (RuntimeError: the GPU is gone); nothing was changed")
        assert reply.headers["content-security-policy"]
        assert client.get("/api/labels").content == before
        monkeypatch.undo()
        assert client.post("/api/click", json={"at": [1, 1, 1]}).status_code == 200


def test_labels_are_saved_on_the_scans_grid(client: httpx.Client, opened: Opened, scan: Scan) -> None:
    post(client, "box", box_of_blob(opened))
    head, _ = post(client, "click", {"at": [2, 3, 4]})
    assert not head["state"]["saved"]
    head, _ = post(client, "save")
    assert head["state"]["saved"]
    output = Path(head["state"]["output"])
    assert output == scan.source.with_name("head_T1w-labels.nii.gz")
    image = nib.nifti1.Nifti1Image.load(output)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    saved, _ = read_mask(output, scan)
    np.testing.assert_array_equal(in_view(opened, saved), labels_of(client))
    assert saved[opened.annotation.orientation.voxel((2, 3, 4))] == 1
    head, _ = post(client, "objects")
    assert head["state"]["saved"]
    head, _ = post(client, "undo")
    assert not head["state"]["saved"]


def test_what_cannot_be_saved_is_told(opened: Opened, scan: Scan) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    annotation = Annotation(scan, opened.annotation._session, opened.annotation.output, full)
    with looking(replace(opened, annotation=annotation)) as client:
        post(client, "click", {"at": [2, 2, 2]})
        reply = client.post("/api/save")
        assert reply.status_code == 507
        assert "No space left on device" in reply.json()["detail"]
        assert not unpacked(client.get("/api/labels").content)[0]["state"]["saved"]
