"""What holds for every answer to clicks, on every path through the predictor, whatever the weights are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blob import Blob

from lexor.geometry import Box, Clicks
from lexor.inference.predictor import Predictor
from lexor.io.case import Case, read_case

SHAPE = (24, 48, 48)
# Class 1 is a ball, class 2 touches it, class 3 is a tube along z.
BOXES = (
    Box((4, 8, 8), (17, 25, 25), 10),
    Box((6, 10, 25), (15, 24, 38), 10),
    Box((0, 36, 36), (24, 42, 42), 12),
)
Point = tuple[int, int, int]


@pytest.fixture(scope="module", params=[pytest.param("bundled", marks=pytest.mark.slow), "object", "volume"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    """The bundled model, and transparent ones for either way of zooming out."""
    if request.param == "bundled":
        return Predictor(device="cpu")
    return Predictor(Blob(request.param), "cpu")


def truth() -> np.ndarray:
    z, y, x = np.ogrid[:24, :48, :48]
    labels = np.zeros(SHAPE, np.uint8)
    labels[((z - 10) / 6) ** 2 + ((y - 16) / 8) ** 2 + ((x - 16) / 8) ** 2 <= 1] = 1
    labels[((z - 10) / 4) ** 2 + ((y - 16) / 7) ** 2 + ((x - 31) / 7) ** 2 <= 1] = 2
    labels[np.broadcast_to((y - 38.5) ** 2 + (x - 38.5) ** 2 <= 9, SHAPE)] = 3
    return labels


def scene(boxes: tuple[Box | None, ...] = BOXES, *clicks: Clicks, previous: np.ndarray | None = None) -> Case:
    """The three objects in noise; class 2 darker than the others."""
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    volume = np.array([50.0, 180.0, 130.0, 200.0])[truth()] + noise
    return Case("CT_scene", volume.clip(0, 255).astype(np.uint8), (1.0, 1.0, 1.0), boxes, clicks, previous)


def some_clicks(seed: int, count: int = 3) -> tuple[Clicks, ...]:
    """For each class clicks anywhere, at the ends of the volume too; some voxels twice, none by two classes."""
    rng = np.random.default_rng(seed)
    found = []
    for label in range(3):
        points: list[Point] = [(0, 0, label), (23, 47, 47 - label)][: count - 1]
        while len(points) < count:
            z, y, x = (int(rng.integers(0, n)) for n in SHAPE)
            points.append((z, y, x // 3 * 3 + label))
        points += points[:1]
        found.append(Clicks(tuple(points), tuple(bool(rng.integers(0, 2)) for _ in points)))
    return tuple(found)


def assert_clicks_hold(labels: np.ndarray, clicks: tuple[Clicks, ...]) -> None:
    for label, mine in enumerate(clicks, start=1):
        last = dict(zip(mine.points, mine.foreground, strict=True))
        for point, foreground in last.items():
            assert (labels[point] == label) == foreground, f"class {label}, click {point}"


PATHS = {
    "boxes": (BOXES, None),
    "boxes and previous labels": (BOXES, truth()),
    "no boxes": ((), None),
    "no boxes and previous labels": ((), truth()),
    "no boxes and an empty answer": ((), np.zeros(SHAPE, np.uint8)),
    "one box of three": ((None, BOXES[1], None), None),
    "a previous answer without class 1": (BOXES, np.where(truth() == 1, 0, truth()).astype(np.uint8)),
}


@pytest.mark.parametrize("path", PATHS)
def test_the_voxel_of_every_click_is_as_it_says(predictor: Predictor, path: str) -> None:
    boxes, previous = PATHS[path]
    clicks = some_clicks(seed=len(path))
    labels = predictor.predict(scene(boxes, *clicks, previous=previous))
    assert labels.shape == SHAPE
    assert_clicks_hold(labels, clicks)


@pytest.mark.parametrize("boxes", [BOXES[:1], ()], ids=["box", "no box"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("point", [(10, 16, 16), (1, 2, 3)], ids=["inside", "outside"])
def test_the_later_of_two_clicks_on_a_voxel_wins(
    predictor: Predictor, boxes: tuple[Box, ...], last: bool, point: Point
) -> None:
    clicks = Clicks((point, (10, 14, 14), point), (not last, True, last))
    assert (predictor.predict(scene(boxes, clicks))[point] == 1) == last


def test_a_voxel_that_two_classes_claim_goes_to_the_one_whose_click_it_is(predictor: Predictor) -> None:
    inside_1, inside_2 = (10, 16, 16), (10, 16, 31)
    of_1 = Clicks((inside_2,), (True,))
    of_2 = Clicks((inside_1,), (True,))
    labels = predictor.predict(scene(BOXES, of_1, of_2, Clicks(), previous=truth()))
    assert labels[inside_1] == 2
    assert labels[inside_2] == 1
    # What one class clicks as its own, another's "not mine" does not take away.
    for first in (Clicks((inside_2,), (False,)), Clicks()):
        labels = predictor.predict(scene(BOXES, first, Clicks((inside_2,), (True,)), Clicks()))
        assert labels[inside_2] == 2
    # Both click the same voxel: one of them has it.
    both = Clicks((inside_1,), (True,))
    assert predictor.predict(scene(BOXES, both, both, Clicks()))[inside_1] in (1, 2)


@pytest.mark.parametrize("foreground", [True, False])
@pytest.mark.parametrize("label", [1, 2, 3])
def test_a_click_leaves_the_other_classes_alone(predictor: Predictor, label: int, foreground: bool) -> None:
    """More than `reach` voxels away from it, every other class stays as it was."""
    reach = 8
    before = predictor.predict(scene(BOXES, Clicks(), Clicks(), Clicks(), previous=truth()))
    point = {1: (10, 16, 22), 2: (10, 16, 27), 3: (12, 38, 38)}[label]
    clicks = [Clicks()] * 3
    clicks[label - 1] = Clicks((point,), (foreground,))
    after = predictor.predict(scene(BOXES, *clicks, previous=truth()))
    grid = np.ogrid[:24, :48, :48]
    far = sum((axis - at) ** 2 for axis, at in zip(grid, point, strict=True)) > reach**2
    for other in {1, 2, 3} - {label}:
        assert (before == other).sum() > 50
        assert not (((before == other) != (after == other)) & far).any(), f"class {other}"


# Only the object-centric family searches for what has no box.
@pytest.mark.parametrize("predictor", ["bundled", "object"], indirect=True)
def test_without_boxes_a_class_that_nobody_corrects_stays_as_it_was(predictor: Predictor) -> None:
    """All its clicks are as they say in the last answer; another class's new click is in the midst of it."""
    of_1 = Clicks(((10, 16, 16), (10, 16, 31)), (True, True))
    of_2 = Clicks(((10, 17, 30), (1, 1, 1)), (True, False))
    previous = np.where(truth() == 1, 1, np.where(truth() == 2, 2, 0)).astype(np.uint8)
    labels = predictor.predict(scene((), of_1, of_2, previous=previous))
    assert labels[10, 16, 31] == 1
    alone = predictor.predict(
        scene((), Clicks(of_1.points[:1], of_1.foreground[:1]), of_2, previous=previous)
    )
    np.testing.assert_array_equal(alone, previous)
    taken = (previous == 2) & (labels != 2)
    np.testing.assert_array_equal(labels[taken], 1)


def test_a_click_changes_more_than_its_own_voxel(predictor: Predictor) -> None:
    """Half of the ball was missed: a click on the missed half brings more of it than was there without."""
    half = np.where((truth() == 1) & (np.arange(48) > 16), 0, truth()).astype(np.uint8)
    missed = (truth() == 1) & (half == 0)
    clicks = (Clicks(((10, 16, 20),), (True,)), Clicks(), Clicks())
    without = predictor.predict(scene(BOXES, Clicks(), Clicks(), Clicks(), previous=half))
    labels = predictor.predict(scene(BOXES, *clicks, previous=half))
    assert (labels[missed] == 1).sum() > 1
    assert (labels[missed] == 1).sum() >= (without[missed] == 1).sum()


def test_clicks_without_a_box_and_a_box_without_clicks(predictor: Predictor) -> None:
    clicks = (Clicks(((10, 16, 16),), (True,)), Clicks(), Clicks())
    result = predictor.segment(scene((None, BOXES[1], None), *clicks))
    assert [target.source for target in result.targets[:2]] == ["clicks", "box"]
    assert (result.labels == 1).sum() > 1
    assert (result.labels == 2).sum() > 20
    alone = predictor.segment(scene((), clicks[0]))
    assert len(alone.targets) == 1
    assert alone.warnings == ()
    assert alone.labels[10, 16, 16] == 1


def test_background_clicks_alone_are_answered(predictor: Predictor) -> None:
    clicks = Clicks(((2, 3, 4), (10, 16, 16)), (False, False))
    labels = predictor.predict(scene((), clicks, previous=np.zeros(SHAPE, np.uint8)))
    assert labels.shape == SHAPE
    assert labels[2, 3, 4] == labels[10, 16, 16] == 0


def test_a_class_with_no_click_yet_and_none_before_is_answered(predictor: Predictor) -> None:
    """Neither box nor click nor previous answer: an automatic box stands in, and the others stay as clicked."""
    clicks = (Clicks(((10, 16, 16),), (True,)), Clicks(), Clicks(((12, 38, 38),), (True,)))
    result = predictor.segment(scene((), *clicks, previous=np.zeros(SHAPE, np.uint8)))
    assert result.targets[1].source == "automatic"
    assert "class 2" in result.warnings[0]
    assert_clicks_hold(result.labels, clicks)


def test_an_empty_answer_of_a_class_is_no_answer(predictor: Predictor) -> None:
    """A class that the last answer had not found is segmented as if there had been none."""
    empty = np.zeros(SHAPE, np.uint8)
    clicks = (Clicks(((10, 16, 16),), (True,)), Clicks(), Clicks())
    np.testing.assert_array_equal(
        predictor.predict(scene(BOXES, *clicks, previous=empty)), predictor.predict(scene(BOXES, *clicks))
    )


def test_a_file_as_the_evaluator_writes_it(predictor: Predictor, tmp_path: Path) -> None:
    """Ragged clicks, and None in clicks_order where a class was perfect."""
    case = scene()
    clicks = [
        {
            "fg": [[np.int64(10), np.int64(16), np.int64(16)]],
            "bg": [[np.int64(10), np.int64(16), np.int64(16)]],
        },
        {"fg": [], "bg": []},
        {"fg": [], "bg": [[np.int64(2), np.int64(3), np.int64(4)]]},
    ]
    order = np.empty(3, object)
    order[:] = [["fg", None, "bg"], [None, None, None], [None, "bg", None]]
    np.savez_compressed(
        tmp_path / "CT_scene.npz",
        imgs=case.volume,
        spacing=np.ones(3),
        boxes=np.array([box.to_dict() for box in BOXES]),
        clicks=np.array(clicks),
        clicks_order=order,
        prev_pred=truth(),
        allow_pickle=True,
    )
    read = read_case(tmp_path / "CT_scene.npz")
    assert read.warnings == ()
    expected = (
        Clicks(((10, 16, 16),) * 2, (True, False)),
        Clicks(),
        Clicks(((2, 3, 4),), (False,)),
    )
    assert read.clicks == expected
    labels = predictor.predict(read)
    assert_clicks_hold(labels, expected)
    np.testing.assert_array_equal(labels, predictor.predict(replace(case, clicks=expected, previous=truth())))


def test_the_same_input_gives_the_same_output(predictor: Predictor) -> None:
    case = scene(BOXES, *some_clicks(5), previous=truth())
    first = predictor.predict(case)
    predictor.predict(scene((), *some_clicks(6)))
    np.testing.assert_array_equal(first, predictor.predict(case))
    np.testing.assert_array_equal(case.previous, truth())
