"""`lexor serve`: segment from napari, 3D Slicer and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexor.cli.options import Device, DeviceOption, ModelOption, WeightsOption, failure
from lexor.cli.output import say

if TYPE_CHECKING:
    from lexor.serving.limits import Limits
    from lexor.serving.service import Service


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 1527,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LEXOR_TOKEN", help="What clients must send; they call it the API key.", show_default=False
        ),
    ] = None,
    model: ModelOption = "mobilenet3d",
    device: DeviceOption = Device.AUTO,
    weights: WeightsOption = None,
    sessions: Annotated[int, typer.Option(min=1, max=64, help="How many clients at a time.")] = 4,
    idle: Annotated[
        float, typer.Option(min=0.1, help="Minutes without work after which a session ends.")
    ] = 60.0,
    gigabytes: Annotated[
        float | None,
        typer.Option(min=0.001, help="Largest volume, unpacked. Else 4, or a quarter of the memory."),
    ] = None,
) -> None:
    """Segment from napari, 3D Slicer, ITK-SNAP and others.

    Speaks the protocols of nnInteractive, ITK-SNAP's DLS and MONAI Label. The programs connect to the address that is
    printed. Volumes stay in memory, and go with the session.
    """
    from lexor.errors import WeightsError
    from lexor.serving import guard, listen

    try:
        listen.check_installed()
        guard.check_exposure(host, token)
        # Before the model is loaded: an address that is taken is told at once.
        with listen.bind(host, port) as bound:
            service = _service(model, device, weights, _limits(sessions, idle, gigabytes))
            from lexor.serving import itksnap, monailabel, nninteractive

            app = service.app([nninteractive.routes, itksnap.routes, monailabel.routes], token)
            bound.listen()
            _announce(listen.address(bound), token)
            listen.make_server(app, service.limits.connections).run(sockets=[bound])
    except (WeightsError, ValueError, OSError) as problem:
        raise failure(problem) from None
    except KeyboardInterrupt:
        say("stopped")


def _limits(sessions: int, idle: float, gigabytes: float | None) -> Limits:
    from lexor.serving.limits import Limits, default_volume_bytes

    most = default_volume_bytes() if gigabytes is None else int(gigabytes * 1e9)
    return Limits(sessions=sessions, idle_seconds=idle * 60, volume_bytes=most)


def _service(model: str, device: Device, weights: Path | None, limits: Limits) -> Service:
    """A service on a model that has been used once."""
    from lexor.inference.engine import Engine
    from lexor.models.factory import licence_of
    from lexor.serving.service import Service

    engine = Engine(model, device.value, weights=weights)
    licence = None if weights else licence_of(model)
    service = Service(engine, limits, tell=say, licence=licence)
    service.warm_up()
    return service


def _announce(url: str, token: str | None) -> None:
    say(f"Lexor listens on {url}")
    say("Give this as the server's URL to the nnInteractive plugin of napari or of 3D Slicer (Remote).")
    say("Clients must send the token, as API key." if token else "Only this machine can connect.")
    say("Stop it with Ctrl+C.")
