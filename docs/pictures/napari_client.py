"""Draws napari.png: two objects of CT_sarcoma.npz, segmented in napari through `lexor serve`.

    lexor serve &
    pip install 'napari[all]' napari-nninteractive     # in an environment of its own
    xvfb-run -s '-screen 0 1600x1000x24' python docs/pictures/napari_client.py http://127.0.0.1:1527 docs/pictures/napari.png

The plug-in's own handlers do all of it, as if somebody clicked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from napari_nninteractive.widget_main import nnInteractiveWidget
from qtpy.QtWidgets import QApplication

CASE = Path(__file__).parents[2] / "app/lexor/viewing/cases/CT_sarcoma.npz"
SLICE = 24
TUMOUR = ((31, 31), (113, 117))
BONE = ((80, 115), (113, 145))


def wait(done: Callable[[], bool] = lambda: False, seconds: float = 120) -> None:
    """Lets napari work until something is so, or for some seconds."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        QApplication.instance().processEvents()
        time.sleep(0.01)


def box(corners: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """A rectangle's corners on the slice, as napari draws them."""
    (top, left), (bottom, right) = corners
    return np.array(
        [[SLICE, y, x] for y, x in ((top, left), (top, right), (bottom, right), (bottom, left))], float
    )


def main(url: str, picture: str) -> None:
    """Connects, draws a box around each object, and takes the picture."""
    with np.load(CASE, allow_pickle=False) as case:
        volume, spacing = case["imgs"], case["spacing"]
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1500, 900)
    viewer.add_image(volume, name=CASE.stem, scale=spacing)
    plugin = nnInteractiveWidget(viewer)
    viewer.window.add_dock_widget(plugin, area="right", name="nnInteractive")
    plugin.server_url_edit.setText(url)
    plugin.on_connect_toggle()
    wait(lambda: plugin._remote_connected)
    plugin.on_init_button()
    wait(lambda: plugin._session_locked and plugin._upload_dialog is None)
    wait(seconds=1)
    viewer.dims.set_current_step(0, SLICE)
    plugin.interaction_button._check(1)
    plugin.on_interaction_selected()
    for number, corners in enumerate((TUMOUR, BONE)):
        if number:
            plugin.on_next()
            plugin.interaction_button._check(1)
            plugin.on_interaction_selected()
        viewer.layers[plugin.bbox_layer_name].add(box(corners), shape_type="rectangle")
        wait(seconds=1)
    viewer.reset_view()
    viewer.window._qt_window.statusBar().clearMessage()
    wait(seconds=1)
    viewer.screenshot(picture, canvas_only=False, flash=False)
    plugin._release_session()
    viewer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
