"""How long a client of the server waits, and what memory the server takes: through nnInteractive's own client."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lexor.bench.phantoms import ORGANS, body, organs
from lexor.geometry import Shape, extent
from lexor.protocol.clicks import next_click

SPACING = (3.0, 1.0, 1.0)
# Clicks on an object after its first click, or after its box.
CORRECTIONS = 2


@dataclass
class Waits:
    """What a client waited for.

    Attributes:
        shape: of the volume.
        seconds: by what was asked, one for each time; in the order in which that was first asked.
        peak_bytes: of the server's memory, all in all; None where the kernel does not tell.
    """

    shape: Shape
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: int | None = None

    def time(self, what: str, ask: Callable[[], object]) -> None:
        """Notes how long it takes to ask."""
        began = time.perf_counter()
        ask()
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)

    def lines(self) -> Iterator[str]:
        """The figures, one line each."""
        for what, seconds in self.seconds.items():
            middle, late = np.percentile(seconds, (50, 95))
            if len(seconds) == 1:
                yield f"{what:32}{seconds[0]:8.2f} s"
            else:
                yield f"{what:32}{middle:8.2f} s median {late:8.2f} s p95 {len(seconds):5} times"
        if self.peak_bytes is not None:
            yield f"{'peak memory of the server':32}{self.peak_bytes / 1e9:8.2f} GB"


def bench_server(
    shape: Shape,
    dtype: str = "uint8",
    objects: int = 4,
    clicks: bool = True,
    model: str = "mobilenet3d",
    device: str = "auto",
) -> Waits:
    """Segments objects of a made-up CT through a server of its own, as a person would.

    Args:
        shape: of the volume.
        dtype: of the volume as it is sent.
        objects: so many.
        clicks: whether each is also segmented without a box.
        model, device: of the server.

    Raises:
        ValueError: the client is not installed.
        RuntimeError: the server did not start.
    """
    if find_spec("nnInteractive") is None:
        raise ValueError("the client is not installed; run: pip install nninteractive-client")
    with warnings.catch_warnings():
        # Its documentation strings.
        warnings.simplefilter("ignore")
        from nnInteractive.inference.remote import (  # type: ignore[import-untyped]
            nnInteractiveRemoteInferenceSession as Client,
        )
    volume = body(shape)[None].astype(dtype)
    found = Waits(shape)
    with _server(model, device) as (url, pid):
        client = Client(url)
        try:
            person = _Person(client, shape, found)
            found.time("upload until ready", lambda: person.upload(volume))
            labels = organs(shape)
            # The last ones, which no others cover.
            for number in range(ORGANS, ORGANS - objects, -1):
                truth = labels == number
                if clicks:
                    person.by_clicks(truth, number == ORGANS)
                person.by_box(truth)
        finally:
            client.close()
        found.peak_bytes = _peak(pid)
    return found


class _Person:
    """Somebody who segments the organs of a body, and corrects what is most wrong."""

    def __init__(self, client: Any, shape: Shape, found: Waits) -> None:
        self.client, self.found = client, found
        self.buffer = np.zeros(shape, np.uint8)

    def upload(self, volume: np.ndarray) -> None:
        """Sends the volume (1, D, H, W)."""
        self.client.set_image(volume, {"spacing": list(SPACING)})
        self.client.set_target_buffer(self.buffer)

    def by_clicks(self, truth: np.ndarray, first: bool) -> None:
        """Segments an organ by clicks alone."""
        self.client.reset_interactions()
        self.correct(truth, "click, the first of all" if first else "click, the first on an object")
        for _ in range(CORRECTIONS):
            self.correct(truth, "click, a later one")

    def by_box(self, truth: np.ndarray) -> None:
        """Segments an organ by a box, then clicks."""
        self.client.reset_interactions()
        where = extent(truth)
        assert where is not None
        bounds = [[s.start, s.stop] for s in where]
        self.found.time("box", lambda: self.client.add_bbox_interaction(bounds, True))
        for _ in range(CORRECTIONS):
            self.correct(truth, "click after a box")
        self.found.time("undo", self.client.undo)

    def correct(self, truth: np.ndarray, what: str) -> None:
        """Clicks into the middle of the largest error."""
        click = next_click(self.buffer > 0, truth)
        if click is not None:
            self.found.time(what, lambda: self.client.add_point_interaction(click[0], click[1]))


@contextmanager
def _server(model: str, device: str) -> Iterator[tuple[str, int]]:
    """A server of its own process: its URL and process number."""
    command = [
        sys.executable,
        "-m",
        "lexor.cli",
        "serve",
        "--port",
        "0",
        "--model",
        model,
        "--device",
        device,
    ]
    # Also the client must not ask a proxy for this machine.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))
    environment = {name: value for name, value in os.environ.items() if name != "LEXOR_TOKEN"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            if " on http" not in line:
                raise RuntimeError("the server did not start; `lexor serve` says why")
            yield line.split()[-1], process.pid
        finally:
            process.terminate()


def _peak(pid: int) -> int | None:
    """The most memory that a process had, bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
