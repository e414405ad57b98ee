"""The challenge's files: reading a case as a whole, reading labels, writing."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from case_files import BOX, SHAPE, VOLUME, objects, only_warning, read
from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.io.case import Case, read_case, read_labels, write_case, write_segmentation


@pytest.mark.parametrize(
    ("name", "modality"),
    [("CT_a_1", "CT"), ("MR_b", "MR"), ("PET_c.d", "PET"), ("US_e", "US"), ("Microscopy_f", "Microscopy"),
     ("CTA_g", None), ("scan", None)],
)  # fmt: skip
def test_name_and_modality(tmp_path: Path, name: str, modality: str | None):
    case = read(tmp_path, f"{name}.npz")
    assert case.name == name
    assert case.modality == modality


def test_a_bare_case(tmp_path: Path):
    case = read(tmp_path, text_prompts=objects({"1": "liver"}))
    assert np.array_equal(case.volume, VOLUME)
    assert (case.spacing, case.boxes, case.clicks, case.previous, case.warnings) == (None, (), (), None, ())
    assert case.n_classes == 0


def test_a_case_as_the_evaluator_writes_it(tmp_path: Path):
    previous = (VOLUME > 128).astype(np.uint8)
    click = [np.int64(1), np.int64(2), np.int64(3)]
    case = read(
        tmp_path,
        spacing=np.array([3.0, 0.5, 0.5]),
        boxes=objects({key: np.int64(value) for key, value in BOX.items()}, BOX),
        clicks=[{"fg": [click], "bg": [[4, 5, 6]]}, {"fg": [[7, 8, 9]], "bg": []}],
        clicks_order=[["bg", "fg"], ["fg", None]],
        prev_pred=previous,
    )
    assert case.warnings == ()
    assert case.spacing == (3.0, 0.5, 0.5)
    assert case.boxes == (Box.from_dict(BOX, SHAPE),) * 2
    assert case.clicks == (
        Clicks(((4, 5, 6), (1, 2, 3)), (False, True)),
        Clicks(((7, 8, 9),), (True,)),
    )
    assert case.n_classes == 2
    assert case.previous is not None
    assert np.array_equal(case.previous, previous)


def test_the_truth_and_stray_keys_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    original = zipfile.ZipFile.open

    def recording(self: zipfile.ZipFile, name: Any, *rest: Any, **options: Any) -> Any:
        opened.append(getattr(name, "filename", name))
        return original(self, name, *rest, **options)

    np.savez(tmp_path / "CT_a.npz", imgs=VOLUME, gts=VOLUME, stray=VOLUME, boxes=objects(BOX))
    monkeypatch.setattr(zipfile.ZipFile, "open", recording)
    read_case(tmp_path / "CT_a.npz")
    assert set(opened) == {"imgs.npy", "boxes.npy"}


@pytest.mark.parametrize(("n_boxes", "n_clicks"), [(1, 3), (3, 1)])
def test_the_longer_of_boxes_and_clicks_counts(tmp_path: Path, n_boxes: int, n_clicks: int):
    click = {"fg": [[1, 2, 3]], "bg": []}
    case = read(tmp_path, boxes=objects(*[BOX] * n_boxes), clicks=objects(*[click] * n_clicks))
    assert case.n_classes == len(case.boxes) == len(case.clicks) == 3
    assert [box is not None for box in case.boxes] == [True] * n_boxes + [False] * (3 - n_boxes)
    assert [len(clicks.points) for clicks in case.clicks] == [1] * n_clicks + [0] * (3 - n_clicks)
    assert f"boxes has {n_boxes} classes, clicks {n_clicks}; " in only_warning(case)


def test_missing_volume(tmp_path: Path):
    np.savez(tmp_path / "CT_a.npz", boxes=objects(BOX))
    with pytest.raises(CaseError, match=r"^CT_a\.npz: imgs is missing; the file has 'boxes', save it under"):
        read_case(tmp_path / "CT_a.npz")


def test_a_volume_under_another_name(tmp_path: Path):
    np.savez(tmp_path / "CT_a.npz", **{f"key{i}": [i] for i in range(20)}, Image=VOLUME)
    with pytest.raises(CaseError, match=r"'key7', \.\.\., save 'Image' under the key imgs$"):
        read_case(tmp_path / "CT_a.npz")


def test_what_a_file_holds_never_reaches_a_terminal_raw(tmp_path: Path):
    evil = "\x1b[2J\n\u202e\x9b31m"
    np.savez(tmp_path / "CT_a.npz", **{evil: VOLUME})
    with pytest.raises(CaseError, match="imgs is missing") as caught:
        read_case(tmp_path / "CT_a.npz")
    assert str(caught.value).isprintable()
    case = read(
        tmp_path, f"CT_{evil}.npz", spacing=objects(evil), boxes=objects({evil: 1}, BOX | {"z_min": evil})
    )
    assert len(case.warnings) == 3
    assert all(line.isprintable() for line in case.warnings)
    assert case.name == f"CT_{evil}"


def test_a_truncated_case_is_a_case_error_wherever_it_ends(tmp_path: Path):
    np.savez_compressed(tmp_path / "whole.npz", imgs=VOLUME, boxes=objects(BOX), spacing=[1, 1, 1])
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(CaseError, match=r"^cut\.npz: "):
            read_case(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    "spacing",
    [
        [1, 2],
        [1, 2, 3, 4],
        [1, 2, 0],
        [1, 2, -1],
        [1, np.nan, 1],
        [1, np.inf, 1],
        [1e-300, 1e-300, 1e-300],
        [1, 1, 1e-7],
        [1e4, 1, 1],
        2.0,
        [["a", "b", "c"]],
        ["x", "y", "z"],
    ],
)
def test_an_unusable_spacing(tmp_path: Path, spacing: Any):
    case = read(tmp_path, spacing=np.array(spacing))
    assert case.spacing is None
    assert "CT_case.npz: spacing is " in only_warning(case)


def test_a_spacing_of_objects(tmp_path: Path):
    assert read(tmp_path, spacing=objects(1, np.float32(0.5), 2.0)).spacing == (1.0, 0.5, 2.0)


@pytest.mark.parametrize(
    "previous",
    [
        np.zeros((10, 20, 29), np.uint8),
        np.full(SHAPE, 0.5),
        np.full(SHAPE, np.nan, np.float32),
        np.full(SHAPE, 1e300),
        np.zeros(SHAPE[:2], np.int16),
        np.zeros(SHAPE, object),
    ],
)
def test_unusable_previous_labels(tmp_path: Path, previous: np.ndarray):
    case = read(tmp_path, boxes=objects(BOX), prev_pred=previous)
    assert case.previous is None
    assert case.unreadable == (1,)
    assert "CT_case.npz: prev_pred " in only_warning(case)


@pytest.mark.parametrize("dtype", ["u1", ">i2", "i8", "u4", "f2", "f4", "f8", ">f8"])
def test_previous_labels_of_any_whole_numbers(tmp_path: Path, dtype: str):
    labels = (VOLUME % 3).astype(dtype)
    case = read(tmp_path, boxes=objects(BOX, BOX), prev_pred=labels)
    assert case.previous is not None
    assert case.previous.dtype == np.uint8
    assert np.array_equal(case.previous, labels)
    assert case.warnings == ()


def test_previous_labels_of_no_class_are_background(tmp_path: Path):
    labels = np.zeros(SHAPE, np.int32)
    labels[0, 0, :5] = 1, 2, 3, 400, -1
    case = read(tmp_path, boxes=objects(BOX, BOX), prev_pred=labels)
    assert case.previous is not None
    assert case.previous[0, 0, :5].tolist() == [1, 2, 0, 0, 0]
    assert "prev_pred has labels -1..400 for 2 classes; " in only_warning(case)


def test_previous_labels_without_prompts_are_kept(tmp_path: Path):
    labels = np.zeros(SHAPE, np.int32)
    labels[0, 0, :2] = 1, 300
    case = read(tmp_path, prev_pred=labels)
    assert case.previous is not None
    assert case.previous.dtype == np.uint16
    assert np.array_equal(case.previous, labels)
    assert case.warnings == ()


def test_previous_labels_alone_are_the_classes(tmp_path: Path):
    labels = np.zeros(SHAPE, np.int32)
    labels[0, 0, :2] = 5, 40_000
    case = read(tmp_path, prev_pred=labels)
    assert (case.n_classes, case.boxes, case.clicks, case.unreadable) == (40_000, (), (), ())
    assert read(tmp_path, prev_pred=labels * 0).n_classes == 0


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full(SHAPE, 65536), "prev_pred has labels 65536..65536; give 0..65535"),
        (np.full(SHAPE, -1), "prev_pred has labels -1..-1; give 0..65535"),
        (np.arange(6000).reshape(SHAPE), "prev_pred alone has 5,999 labels; give at most 1,000, or boxes"),
        (np.full(SHAPE, 2.5), "prev_pred is float64 and holds 2.5; give integer labels"),
    ],
)
def test_previous_labels_alone_that_cannot_be_classes(tmp_path: Path, labels: np.ndarray, words: str):
    case = read(tmp_path, prev_pred=labels)
    assert (case.previous, case.n_classes, case.unreadable) == (None, 0, (1,))
    assert words in only_warning(case)


@pytest.mark.parametrize("key", ["imgs", "prev_pred", "gts"])
def test_a_shape_that_cannot_be_used_is_refused_before_it_is_decompressed(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
):
    large = np.zeros((4, 30, 1000, 200) if key == "imgs" else (400, 300, 200), np.uint8)
    np.savez_compressed(tmp_path / "CT_a.npz", **{"imgs": VOLUME, "boxes": objects(BOX), key: large})
    taken = 0
    original = zipfile.ZipExtFile.read

    def counting(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        nonlocal taken
        data = original(self, n)
        taken += len(data)
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    if key == "imgs":
        with pytest.raises(CaseError, match=r"imgs has shape \(4, 30, 1000, 200\)"):
            read_case(tmp_path / "CT_a.npz")
    elif key == "gts":
        with pytest.raises(
            CaseError, match=r"gts has shape \(400, 300, 200\), imgs \(10, 20, 30\); give one"
        ):
            read_labels(tmp_path / "CT_a.npz")
    else:
        assert "prev_pred has shape (400, 300, 200); give" in only_warning(read_case(tmp_path / "CT_a.npz"))
    assert taken < 20_000


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (VOLUME % 5, "f8"),
        (VOLUME % 5, "f4"),
        (VOLUME % 2, "?"),
        (VOLUME % 2, "f2"),
        (VOLUME % 5 - 2.0, "f8"),
    ],
)
def test_whole_numbers_of_any_dtype_are_labels(tmp_path: Path, labels: np.ndarray, dtype: str):
    np.savez(tmp_path / "a.npz", gts=labels.astype(dtype))
    found = read_labels(tmp_path / "a.npz")
    assert found.dtype.kind in "iu"
    assert np.array_equal(found, labels)


@pytest.mark.parametrize("dtype", ["u1", "i4", "u8"])
def test_labels_are_read_as_stored(tmp_path: Path, dtype: str):
    labels = (VOLUME % 5).astype(dtype)
    np.savez(tmp_path / "a.npz", gts=labels, segs=labels + labels.dtype.type(1))
    assert read_labels(tmp_path / "a.npz").dtype == dtype
    assert np.array_equal(read_labels(tmp_path / "a.npz"), labels)
    assert np.array_equal(read_labels(tmp_path / "a.npz", "segs"), labels + 1)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.linspace(0, 1, 6000).reshape(SHAPE), "gts is float64 and holds 0.000166.*; give integer labels"),
        (np.full(SHAPE, np.nan), "gts is float64 and holds nan; give integer labels"),
        (np.full(SHAPE, np.inf), "gts is float64 and holds inf; give integer labels"),
        (np.zeros(SHAPE, complex), "gts has dtype complex128; give integer labels"),
        (np.zeros((2, 3), int), r"gts has shape \(2, 3\); give an array"),
        (np.zeros(SHAPE, object), "dtype object"),
    ],
)
def test_unusable_labels(tmp_path: Path, labels: np.ndarray, reason: str):
    np.savez(tmp_path / "a.npz", gts=labels)
    with pytest.raises(CaseError, match=rf"^a\.npz: .*{reason}"):
        read_labels(tmp_path / "a.npz")
    with pytest.raises(CaseError, match=r"^a\.npz: segs is missing"):
        read_labels(tmp_path / "a.npz", "segs")


@pytest.mark.parametrize(
    ("highest", "n_classes", "dtype"),
    [
        (0, None, "u1"),
        (255, None, "u1"),
        (256, None, "u2"),
        (65535, None, "u2"),
        (2, 255, "u1"),
        (2, 256, "u2"),
        (1, 0, None),
        (3, 2, None),
        (65536, None, None),
        (-1, None, None),
    ],
)
def test_segmentation_dtype(tmp_path: Path, highest: int, n_classes: int | None, dtype: str | None):
    labels = np.zeros((3, 4, 5), np.int64)
    labels[1, 2, 3] = highest
    if dtype is None:
        with pytest.raises(CaseError, match=r"^a\.npz: segs has labels "):
            write_segmentation(tmp_path / "a.npz", labels, n_classes)
        assert list(tmp_path.iterdir()) == []
        return
    write_segmentation(tmp_path / "a.npz", labels, n_classes)
    with np.load(tmp_path / "a.npz") as file:
        assert file.files == ["segs"]
        assert file["segs"].dtype == dtype
        assert np.array_equal(file["segs"], labels)


@pytest.mark.parametrize("labels", [np.zeros(SHAPE), np.zeros((3, 4), int)])
def test_what_is_no_segmentation(tmp_path: Path, labels: np.ndarray):
    with pytest.raises(CaseError, match="give integer labels"):
        write_segmentation(tmp_path / "a.npz", labels)


def test_segmentation_of_any_memory_layout(tmp_path: Path):
    labels = (VOLUME % 3).transpose(2, 0, 1)[::2] > 0
    write_segmentation(tmp_path / "a.npz", labels)
    found = read_labels(tmp_path / "a.npz", "segs")
    assert found.dtype == np.uint8
    assert np.array_equal(found, labels)


def test_segmentation_replaces_a_stale_one_and_survives_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_segmentation(tmp_path / "a.npz", np.ones(SHAPE, int))
    write_segmentation(tmp_path / "a.npz", np.full(SHAPE, 2))
    assert read_labels(tmp_path / "a.npz", "segs").max() == 2

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_segmentation(tmp_path / "a.npz", np.full(SHAPE, 3))
    assert read_labels(tmp_path / "a.npz", "segs").max() == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def full_case() -> Case:
    return Case(
        name="PET_full",
        volume=VOLUME,
        spacing=(3.0, 1.5, 1.25),
        boxes=(Box.from_dict(BOX, SHAPE), None, Box.whole(SHAPE)),
        clicks=(
            Clicks(((1, 2, 3), (4, 5, 6), (7, 8, 9)), (True, False, True)),
            Clicks(),
            Clicks(((0, 0, 0),), (False,)),
        ),
        previous=(VOLUME % 4).astype(np.uint8),
    )


def test_a_written_case_is_read_back(tmp_path: Path):
    case = full_case()
    write_case(tmp_path / "PET_full.npz", case, labels=VOLUME % 2)
    found = read_case(tmp_path / "PET_full.npz")
    assert np.array_equal(found.volume, case.volume)
    assert found.previous is not None
    assert np.array_equal(found.previous, VOLUME % 4)
    for field in ("name", "spacing", "boxes", "clicks", "n_classes", "modality"):
        assert getattr(found, field) == getattr(case, field)
    assert only_warning(found).startswith("PET_full.npz: boxes[1] is None")
    assert np.array_equal(read_labels(tmp_path / "PET_full.npz"), VOLUME % 2)


def test_a_written_case_has_the_challenges_layout(tmp_path: Path):
    write_case(tmp_path / "a.npz", full_case())
    with np.load(tmp_path / "a.npz", allow_pickle=True) as file:
        assert set(file.files) == {"imgs", "spacing", "boxes", "clicks", "clicks_order", "prev_pred"}
        assert file["boxes"].shape == file["clicks"].shape == file["clicks_order"].shape == (3,)
        assert file["boxes"][0] == BOX
        assert all(type(value) is np.int64 for value in file["boxes"][0].values())
        assert file["clicks"][0] == {"fg": [[1, 2, 3], [7, 8, 9]], "bg": [[4, 5, 6]]}
        assert file["clicks_order"].tolist() == [["fg", "bg", "fg"], [], ["bg"]]
        assert file["spacing"].dtype == np.float64


def test_orders_of_equal_length_stay_lists(tmp_path: Path):
    clicks = Clicks(((1, 2, 3), (4, 5, 6)), (False, True))
    write_case(tmp_path / "a.npz", Case(name="a", volume=VOLUME, clicks=(clicks, clicks)))
    with np.load(tmp_path / "a.npz", allow_pickle=True) as file:
        assert set(file.files) == {"imgs", "clicks", "clicks_order"}
        assert file["clicks_order"].tolist() == [["bg", "fg"], ["bg", "fg"]]
        assert file["clicks_order"].shape == (2,)
    assert read_case(tmp_path / "a.npz").clicks == (clicks, clicks)


def test_real_volumes(shared_data: Path):
    paths = sorted(shared_data.glob("val/*.npz"))[::10]
    assert paths
    for path in paths:
        case = read_case(path)
        with np.load(path, allow_pickle=True) as file:
            assert np.array_equal(case.volume, file["imgs"])
            assert case.spacing == tuple(file["spacing"])
            assert [box and box.to_dict() for box in case.boxes] == file["boxes"].tolist()
            assert np.array_equal(read_labels(path), file["gts"])
        assert case.warnings == ()
        assert case.modality == path.name.split("_")[0]


def test_probabilities_are_written_class_by_class(tmp_path: Path):
    rng = np.random.default_rng(3)
    maps = [rng.random(SHAPE, np.float32) for _ in range(3)]
    asked: list[int] = []

    def reader(index: int):
        def read_map() -> np.ndarray:
            asked.append(index)
            return maps[index]

        return read_map

    path = tmp_path / "a.npz"
    write_segmentation(path, np.ones(SHAPE, np.uint8), 3, [reader(i) for i in range(3)])
    assert asked == [0, 1, 2]
    with np.load(path) as answer:
        assert answer.files == ["segs", "probabilities"]
        assert answer["segs"].all()
        assert answer["probabilities"].dtype == np.float16
        np.testing.assert_array_equal(answer["probabilities"], np.stack(maps).astype(np.float16))
    assert read_labels(path, "segs").shape == SHAPE


def test_a_thousand_maps_of_probabilities_are_written_at_most(tmp_path: Path):
    labels = np.zeros((2, 3, 4), np.uint16)
    maps = [lambda: np.zeros(labels.shape, np.float32)] * 60000
    with pytest.raises(CaseError, match=r"a\.npz: 60,000 maps of probabilities.*number the labels"):
        write_segmentation(tmp_path / "a.npz", labels, 60000, maps)
    assert not list(tmp_path.iterdir())
    write_segmentation(tmp_path / "a.npz", labels, 1000, maps[:1000])
