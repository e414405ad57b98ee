import io
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.io.scans.objects import COLOURS
from lexor.viewing.planes import Scene, best_slice, draw_planes, thumbnail, write_preview


@pytest.fixture
def scene() -> Scene:
    volume = np.full((8, 30, 20), 60, np.uint8)
    labels = np.zeros(volume.shape, np.uint8)
    labels[2:5, 10:20, 5:12] = 1
    return Scene("CT_a", volume, labels, (4.0, 1.0, 2.0))


def pixels_of(path: Path, colour: str) -> int:
    """How many pixels of a PNG have a colour, nearly."""
    picture = matplotlib.image.imread(path)[..., :3]
    return int((np.abs(picture - np.array(to_rgb(colour))).max(axis=2) < 0.08).sum())


def test_contours_boxes_clicks_and_truth_are_drawn(scene: Scene, tmp_path: Path) -> None:
    def drawn(scene: Scene, colour: str) -> int:
        return pixels_of(write_preview(scene, tmp_path / "a.png"), colour)

    answered = drawn(scene, COLOURS[0])
    assert answered > 500
    assert drawn(replace(scene, labels=scene.labels * 0), COLOURS[0]) == 0
    assert drawn(replace(scene, labels=scene.labels * 2), COLOURS[1]) > 500
    box = Box((1, 4, 3), (6, 25, 16), 3)
    assert drawn(replace(scene, boxes=(box,)), COLOURS[0]) > answered + 300
    clicks = Clicks(((2, 8, 3), (2, 2, 2)), (True, False))
    assert drawn(replace(scene, clicks=(Clicks(), clicks)), COLOURS[1]) > 50
    white = drawn(scene, "white")
    assert drawn(replace(scene, truth=np.roll(scene.labels, 3, 1)), "white") != white


def test_panels_are_true_in_millimetres(scene: Scene) -> None:
    figure = draw_planes(scene)
    figure.canvas.draw()
    sizes = [axis.get_window_extent() for axis in figure.axes]
    millimetres = [(30.0, 40.0), (32.0, 40.0), (32.0, 30.0)]  # down, across
    scale = sizes[0].height / millimetres[0][0]
    for size, (down, across) in zip(sizes, millimetres, strict=True):
        assert size.width / size.height == pytest.approx(across / down, rel=0.01)
        assert size.height / down == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        # Which end of each plane's sides is up and left, and whether they are turned round.
        (("S", "P", "L"), [("A", "R", False, False), ("S", "R", True, False), ("S", "A", True, False)]),
        (("I", "A", "R"), [("A", "R", True, True), ("S", "R", False, True), ("S", "A", False, True)]),
        # Sagittal slices: the array's rows run from front to back, its columns from feet to head.
        (("R", "P", "S"), [("S", "A", True, False), ("S", "R", True, True), ("A", "R", False, True)]),
    ],
)
def test_planes_lie_as_a_radiologist_looks_at_them(
    scene: Scene, axes: tuple[str, ...], expected: list[tuple[str, str, bool, bool]]
) -> None:
    figure = draw_planes(replace(scene, axes=axes))
    for axis, (up, left, up_is_last, left_is_last) in zip(figure.axes, expected, strict=True):
        assert [text.get_text() for text in axis.texts] == [up, left]
        assert bool(axis.yaxis_inverted()) is not up_is_last
        assert bool(axis.xaxis_inverted()) is left_is_last


def test_hostile_names_are_drawn_as_they_are(scene: Scene, tmp_path: Path) -> None:
    names = {1: "_$\\frac{$ 漢\n<b>"}
    figure = draw_planes(replace(scene, title="$x^{ \x1b[2J", names=names))
    figure.canvas.draw()
    (entry,) = figure.legends[0].get_texts()
    assert entry.get_text() == "_$\\frac{$ ?\\n<b>"
    assert figure.get_suptitle() == "$x^{ \\x1b[2J"
    write_preview(replace(scene, title="x" * 500, names=names), tmp_path / "a.png")


def test_many_classes_and_needles_make_pictures(scene: Scene) -> None:
    volume = np.zeros((1, 300, 2), np.uint8)
    labels = np.arange(600, dtype=np.uint16).reshape(volume.shape)
    figure = draw_planes(Scene("", volume, labels, (1e-3, 1.0, 1.0)))
    assert len(figure.legends[0].get_texts()) == 15
    assert figure.legends[0].get_texts()[-1].get_text() == "and 585 more"
    assert max(figure.get_size_inches()) <= 20


def test_only_our_own_pictures_are_replaced(scene: Scene, tmp_path: Path) -> None:
    mine = write_preview(scene, tmp_path / "mine.png")
    assert write_preview(scene, mine) == mine
    other = tmp_path / "other.png"
    Image.new("RGB", (4, 4)).save(other)
    before = other.read_bytes()
    (tmp_path / "folder.png").mkdir()
    for path in (other, tmp_path / "folder.png"):
        with pytest.raises(CaseError, match="is no picture of Lexor's, and stays"):
            write_preview(scene, path)
    assert other.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "mine.png", "other.png"]


def test_a_thumbnail_is_a_small_jpeg(scene: Scene) -> None:
    picture = Image.open(io.BytesIO(thumbnail(scene)))
    assert picture.format == "JPEG"
    assert picture.width == 720


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_the_best_slice_cuts_most_classes_and_then_most_voxels(seed: int, axis: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (4, 5, 6)).astype(np.uint8) * (rng.random((4, 5, 6)) < 0.2)
    index = best_slice(labels, axis)
    slices = np.moveaxis(labels, axis, 0)
    ranks = [(len(np.unique(part[part > 0])), int(np.count_nonzero(part))) for part in slices]
    if index is None:
        assert not labels.any()
    else:
        assert ranks[index] == max(ranks)
