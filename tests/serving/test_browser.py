"""The viewer in a real browser, end to end: a scan is opened, pointed at, mended, undone, saved, and compared."""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect, sync_playwright
from running import until

from lexor.io.case import read_case
from lexor.viewing.demo import CASES
from processes import hear_interrupts

# The file's axes run to the patient's back, feet and left, and are a little oblique.
AFFINE = np.array([[-0.06, 0, -1.0, 40], [-1.0, 0.08, 0.06, 60], [-0.08, -1.0, 0, 30], [0, 0, 0, 1.0]])
SECONDS = 60_000
# WebGL2 without a GPU.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A real volume whose axes are not the patient's."""
    case = read_case(CASES / "MR_deep_nuclei.npz")
    path = tmp_path / "brain_T1w.nii.gz"
    nib.save(nib.nifti1.Nifti1Image(case.volume[::-1].transpose(1, 0, 2), AFFINE), path)
    return path


@contextmanager
def viewed(scan: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`lexor view` of a scan: the address that it prints, and the process."""
    command = [sys.executable, "-m", "lexor.cli", "view", str(scan), "--no-browser", "--device", "cpu"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_interrupts,
    ) as process:
        try:
            yield address(process), process
        finally:
            process.kill()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    told = []
    patience = threading.Timer(60, process.kill)
    patience.start()
    for line in process.stdout:
        told.append(line)
        if found := re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/\?token=\S+)\n", line):
            patience.cancel()
            return found[1]
    raise AssertionError(told)


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "this test needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 920, "height": 620})
        page.set_default_timeout(SECONDS)
        yield page
        browser.close()


def tile(page: Page, plane: str) -> Locator:
    return page.locator(f".tile[data-plane={plane}]")


def point(page: Page, plane: str, at: tuple[float, float]) -> tuple[float, float]:
    """A point of a tile, by fractions of it, on the page."""
    box = tile(page, plane).bounding_box()
    assert box is not None
    return box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]


def drag(page: Page, plane: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*point(page, plane, start))
    page.mouse.down()
    page.mouse.move(*point(page, plane, end), steps=4)
    page.mouse.up()


def millimetres(page: Page, plane: str, at: tuple[float, float]) -> np.ndarray:
    """Where in the patient the viewer says that a point of a tile is: right, anterior, superior."""
    page.mouse.move(*point(page, plane, at))
    where = page.locator("#where")
    expect(where).to_contain_text("mm")
    found = re.findall(r"([RLAPSI]) (\d+\.\d)", where.inner_text())
    return np.array([float(number) * (1 if side in "RAS" else -1) for side, number in found])


def colour(page: Page, plane: str, at: tuple[float, float]) -> np.ndarray:
    """What is drawn at a point of a tile: red, green, blue."""
    x, y = point(page, plane, at)
    clip = {"x": x - 1, "y": y - 1, "width": 3, "height": 3}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))  # type: ignore[arg-type]
    return np.asarray(picture.convert("RGB"), float).mean((0, 1))


def volume_of(page: Page) -> str:
    return page.locator("#objects li.current .numbers").inner_text()


def orange(found: np.ndarray) -> bool:
    return bool(found[0] - found[2] > 25)


@contextmanager
def answered(page: Page, verb: str) -> Iterator[None]:
    """Waits until what is done here is answered, and shown."""
    with page.expect_response(f"**/api/{verb}", timeout=SECONDS) as reply:
        yield
    assert reply.value.status == 200
    expect(page.locator("#busy")).to_be_hidden(timeout=SECONDS)
    page.wait_for_timeout(100)


@pytest.mark.slow
def test_a_scan_is_segmented_in_the_browser(scan: Path, page: Page) -> None:
    troubles: list[str] = []
    page.on("pageerror", lambda problem: troubles.append(str(problem)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    with viewed(scan) as (url, process):
        origin = url.split("/?")[0]
        page.on(
            "request", lambda request: troubles.append(request.url) if outside(request.url, origin) else None
        )
        page.goto(url)
        page.locator("body[data-ready=yes]").wait_for()
        assert page.url == f"{origin}/"
        expect(page.locator("#scan-name")).to_have_text("brain_T1w")
        for plane, letters in (("axial", "ALPR"), ("coronal", "SLIR"), ("sagittal", "SPIA")):
            assert "".join(tile(page, plane).locator(".letter").all_inner_texts()) == letters

        # A box on two planes, around the right putamen. The mask is drawn where it is, in the colour of object 1.
        inside = (0.36, 0.44)
        before = colour(page, "axial", inside)
        page.keyboard.press("b")
        drag(page, "axial", (0.30, 0.28), (0.45, 0.72))
        expect(page.locator("#pending")).to_be_visible()
        with answered(page, "box"):
            drag(page, "sagittal", (0.35, 0.25), (0.7, 0.7))
        until(lambda: orange(colour(page, "axial", inside)))
        assert not orange(before)
        boxed = volume_of(page)
        assert boxed.endswith(" ml")

        # A right click takes away what lies under it, and undo brings it back.
        page.keyboard.press("c")
        for undone in (True, False):
            with answered(page, "click"):
                page.mouse.click(*point(page, "axial", inside), button="right")
            expect(tile(page, "axial").locator(".click.remove")).to_have_count(1)
            assert volume_of(page) != boxed
            if undone:
                with answered(page, "undo"):
                    page.keyboard.press("Control+z")
                expect(page.locator(".click")).to_have_count(0)
                assert volume_of(page) == boxed
        removed = millimetres(page, "axial", inside)

        # A scribble adds what was painted.
        page.keyboard.press("s")
        with answered(page, "scribble"):
            drag(page, "axial", (0.25, 0.3), (0.25, 0.4))
        assert tile(page, "axial").locator(".click.add").count() > 0
        painted = millimetres(page, "axial", (0.25, 0.36))

        # A click that Lexor never gets changes nothing.
        page.keyboard.press("c")
        shown = volume_of(page)
        refuse_clicks(page)
        page.mouse.click(*point(page, "coronal", (0.6, 0.5)))
        expect(page.locator("#toast")).to_contain_text("what was done is kept", timeout=SECONDS)
        assert volume_of(page) == shown
        page.unroute("**/api/click")
        troubles.clear()  # the browser told of the request that failed

        # A name is text, whatever it says; another object can be begun.
        name = page.locator("#objects li.current input[type=text]")
        name.fill("<b>Putamen</b>")
        name.press("Enter")
        expect(page.locator("#objects li.current input[type=text]")).to_have_value("<b>Putamen</b>")
        expect(page.locator("#objects b")).to_have_count(0)
        page.locator("#new-object").click()
        expect(page.locator("#objects li")).to_have_count(2)
        expect(page.locator("#objects li.current")).to_have_attribute("data-number", "2")

        # Another window of the browser sees the same.
        page.reload()
        page.locator("body[data-ready=yes]").wait_for()
        assert page.locator("#objects li .numbers").first.inner_text() == shown

        page.keyboard.press("Control+s")
        output = scan.with_name("brain_T1w-labels.nii.gz")
        expect(page.locator("#toast")).to_have_text(f"Saved: {output}", timeout=SECONDS)
        expect(page.locator("#kept")).to_have_text("saved")
        assert troubles == []

        image = nib.nifti1.Nifti1Image.load(output)
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
        labels = np.asanyarray(image.dataobj)
        assert labels.shape == nib.nifti1.Nifti1Image.load(scan).shape
        millilitres = np.count_nonzero(labels == 1) * abs(np.linalg.det(AFFINE[:3, :3])) / 1000
        assert f"{millilitres:.1f} ml" == shown

        def label_at(place: np.ndarray) -> int:
            i, j, k = np.rint(np.linalg.solve(AFFINE, (*place, 1))[:3]).astype(int)
            return int(labels[i, j, k])

        assert (label_at(removed), label_at(painted)) == (0, 1)

        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert scan.with_name(".brain_T1w-labels.nii.gz.work.npz").is_file()


def outside(url: str, origin: str) -> bool:
    return not url.startswith((f"{origin}/", "data:", "blob:"))


def refuse_clicks(page: Page) -> None:
    def refuse(route: Route) -> None:
        route.abort()

    page.route("**/api/click", refuse)
