"""The front end's files: NiiVue is the one that the note names, and nothing is loaded from elsewhere."""

from __future__ import annotations

import hashlib
import re

from lexor.serving.viewer import STATIC

NIIVUE = STATIC / "niivue"


def test_niivue_is_what_its_note_says() -> None:
    note = (NIIVUE / "README.md").read_text("utf-8")
    (said,) = re.findall(r"`([0-9a-f]{64})`", note)
    bundle = (NIIVUE / "niivue.umd.js").read_bytes()
    assert hashlib.sha256(bundle).hexdigest() == said
    assert len(bundle) < 3 << 20
    assert "BSD 2-Clause" in (NIIVUE / "LICENSE").read_text("utf-8")


def test_our_files_load_nothing_from_elsewhere_and_write_no_html() -> None:
    files = [path for path in STATIC.iterdir() if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".css", ".js"}
    for path in files:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        ), path
        assert len(text.splitlines()) < 420, path
