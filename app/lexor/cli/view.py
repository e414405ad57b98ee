"""`lexor view`: look at a scan and segment it in the browser."""

from __future__ import annotations

import secrets
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.options import Device, DeviceOption, ModalityOption, ModelOption, WeightsOption, failure
from lexor.cli.output import say

if TYPE_CHECKING:
    from lexor.serving.opening import Opened

# A browser keeps a few open; more is no browser.
_CONNECTIONS = 64


def view(
    scan: Annotated[
        Path,
        typer.Argument(help="NIfTI, NRRD, MHA, TIFF, a folder or file of DICOM, or a challenge .npz case."),
    ],
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Labels to begin with, on the scan's grid.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Where labels are saved; the ending tells the format. Else NAME-labels beside the scan.",
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser, or not.")] = True,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    weights: WeightsOption = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", help="What the network sees of a CT: soft-tissue, lung, brain, bone or WIDTH,LEVEL."
        ),
    ] = None,
    modality: ModalityOption = None,
    series: Annotated[
        str | None,
        typer.Option("--series", help="Of several DICOM series: UID, number, or part of the name."),
    ] = None,
    frame: Annotated[int | None, typer.Option("--frame", help="Of several volumes, from 0.")] = None,
) -> None:
    """Look at a scan and segment it in the browser.

    Only this machine can connect. Unfinished work is kept, and comes back when the scan is opened again.
    Ctrl+C ends it.
    """
    from lexor.errors import WeightsError
    from lexor.serving import listen

    try:
        listen.check_installed()
        # Before the scan is read: a port that is taken is told at once.
        with listen.bind("127.0.0.1", port) as bound:
            from lexor.inference.engine import Engine
            from lexor.io.scan import read_scan
            from lexor.serving.opening import open_scan

            found = read_scan(
                scan, series=series, frame=frame, modality=None if modality is None else modality.value
            )
            say(f"{found.name}: {'x'.join(map(str, found.shape))}")
            opened = open_scan(found, Engine(model, device.value, weights=weights), mask, output, window)
            try:
                _run(opened, bound, browser)
            finally:
                opened.annotation.close()
                _end(opened)
    except (WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    except KeyboardInterrupt:
        say("stopped")


def _run(opened: Opened, bound: socket.socket, browser: bool) -> None:
    import webbrowser

    from lexor.serving import listen
    from lexor.serving.viewer import make_app

    port = bound.getsockname()[1]
    token, once = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    for note in (*opened.notes, *filter(None, [opened.restored])):
        say(note)
    bound.listen()
    say(f"Labels are saved in {opened.annotation.output}")
    say(f"Open http://127.0.0.1:{port}/?token={token}")
    say("Stop with Ctrl+C.")
    server = listen.make_server(make_app(opened, token, port, once), _CONNECTIONS)
    if browser:
        # One that runs in the terminal would come back only when it is closed.
        address = f"http://127.0.0.1:{port}/?token={once}"
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server.run(sockets=[bound])


def _end(opened: Opened) -> None:
    state = opened.annotation.state()
    if not state["saved"]:
        say(
            state["problem"]
            or f"Not all is saved. It is kept in {state['kept']}, and comes back with the scan."
        )
