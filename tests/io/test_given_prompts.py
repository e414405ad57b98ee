"""Prompts from options, files and masks: in voxels of the scan, whatever coordinates they came in."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexor.errors import CaseError
from lexor.geometry import Box, Clicks
from lexor.io.given import GivenPrompts, Prompts, prompts_on, to_voxels
from lexor.io.scan import write_labels
from lexor.io.scans.model import Scan
from scan_files import affine, blobs, rotation, scan

WHERE = affine(angles=(0, 0, 0), signs=(1, -1, 1))
SCAN = scan(where=WHERE)
CORNERS = ((1, 2, 3), (4, 6, 8))
BOX = Box((1, 2, 3), (5, 7, 9), 2)


def ask(scan: Scan = SCAN, **given: Any) -> Prompts:
    return prompts_on(GivenPrompts(**given), scan)


def place(voxel: Any, where: np.ndarray = WHERE, ras: bool = False) -> list[float]:
    """Of a voxel in millimetres."""
    found = (where @ [*voxel, 1])[:3] * ((-1, -1, 1) if ras else 1)
    return [float(value) for value in found]


def text(*values: Any) -> str:
    return ",".join(str(value) for value in values)


def test_boxes_and_clicks_of_options_are_voxels_with_both_ends_inside() -> None:
    found = ask(boxes=("1,2,3,4,6,8", "0,0,0,0,0,0"), clicks=("1:2,3,4",), background=("2:5,7,9", "2:0,1,2"))
    assert found.boxes == (BOX, Box((0, 0, 0), (1, 1, 1), 0))
    assert found.clicks == (Clicks(((2, 3, 4),), (True,)), Clicks(((5, 7, 9), (0, 1, 2)), (False, False)))
    assert ask(boxes=("4,6,8,1,2,3",)).boxes == (BOX,)  # any two opposite corners
    assert ask(clicks=("2,3,4",)).boxes == ()
    assert ask(clicks=("2.4,3,4",)).clicks == (Clicks(((2, 3, 4),), (True,)),)


@pytest.mark.parametrize("format", ["nifti", "dicom"])
def test_millimetres_are_those_of_the_formats_viewers(format: Any) -> None:
    ras = format == "nifti"
    low, high = (place(corner, ras=ras) for corner in CORNERS)
    found = ask(
        scan(where=WHERE, format=format),
        boxes=(text(*low, *high),),
        clicks=(text(*place((2, 3, 4), ras=ras)),),
        world=True,
    )
    assert found.boxes == (BOX,)
    assert found.clicks == (Clicks(((2, 3, 4),), (True,)),)


@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.sampled_from((-1, 1))] * 3),
    st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 9)),
)
@settings(max_examples=60)
def test_a_voxels_place_is_that_voxel(angles: Any, signs: Any, voxel: tuple[int, int, int]) -> None:
    where = affine(angles=angles, signs=signs)
    found = scan(where=where)
    for system in ("LPS", "RAS"):
        points = [tuple(place(voxel, where, system == "RAS"))]
        np.testing.assert_allclose(to_voxels(points, system, found), [voxel], atol=2e-3)  # type: ignore[arg-type]


def test_a_box_that_is_drawn_along_the_edges_of_voxels_takes_no_more() -> None:
    low, high = place((0.5, 1.5, 2.5)), place((4.5, 6.5, 8.5))
    assert ask(scan(where=WHERE, format="dicom"), boxes=(text(*low, *high),), world=True).boxes == (BOX,)
    middle = place((2, 3, 4))
    flat = ask(scan(where=WHERE, format="dicom"), boxes=(text(*middle, *middle),), world=True)
    assert flat.boxes == (Box((2, 3, 4), (3, 4, 5), 2),)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"boxes": ("1,2,3",)}, "--box is '1,2,3'; give 6 numbers"),
        ({"boxes": ("1,2,3,4,5,nan",)}, "--box is '1,2,3,4,5,nan'; give 6 numbers"),
        ({"boxes": ("9,9,9,9,9,99",)}, "a: box of class 1: box .* is outside the volume"),
        ({"clicks": ("1,2",)}, "--click is '1,2'; give 3 numbers"),
        (
            {"clicks": ("6,0,0",)},
            r"a: click \(6.0, 0.0, 0.0\) of class 1 \(voxel\) is voxel \(6, 0, 0\), outside",
        ),
        ({"clicks": ("x:1,2,3",)}, "--click is 'x:1,2,3'; give Z,Y,X or CLASS:Z,Y,X"),
        ({"clicks": ("0:1,2,3",)}, "give a class from 1 to 1000"),
        ({"clicks": ("3:1,2,3",)}, "class 1 has no prompt, and class 3 has"),
        (
            {"boxes": ("0,0,0,1,1,1",) * 2, "clicks": ("1,1,1",)},
            "there are 2 boxes; say which it belongs to: 1:1,1,1",
        ),
        ({"files": (Path("gone.json"),)}, "gone.json: no such file"),
    ],
)
def test_what_cannot_be_asked_is_said(given: Any, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        ask(**given)


def test_prompts_of_one_scan_are_not_for_several(tmp_path: Path) -> None:
    for asked in ({"boxes": ("1",)}, {"files": (tmp_path / "a.json",)}, {"mask": tmp_path / "a.nii"}):
        with pytest.raises(CaseError, match="these prompts are for one scan, and there are 2"):
            GivenPrompts(**asked).check(2)
    GivenPrompts(files=(tmp_path,), mask=tmp_path).check(2)


def test_our_json_with_names_and_every_kind_of_coordinates(tmp_path: Path) -> None:
    for system in ("voxel", "LPS", "RAS"):

        def point(voxel: Any, system: str = system) -> list[float]:
            return list(voxel) if system == "voxel" else place(voxel, ras=system == "RAS")

        classes = [
            {
                "name": "liver",
                "box": [*point(CORNERS[0]), *point(CORNERS[1])],
                "background": [point((0, 0, 0))],
            },
            {"clicks": [point((2, 3, 4)), point((5, 7, 9))]},
        ]
        (tmp_path / "p.json").write_text(json.dumps({"coordinates": system, "classes": classes}))
        found = ask(files=(tmp_path / "p.json",))
        assert found.boxes == (BOX, None)
        assert found.clicks == (
            Clicks(((0, 0, 0),), (False,)),
            Clicks(((2, 3, 4), (5, 7, 9)), (True, True)),
        )
        assert found.names == {1: "liver"}
    (tmp_path / "a.json").write_text((tmp_path / "p.json").read_text())
    assert ask(files=(tmp_path,)).boxes == (BOX, None)  # that of the scan's name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "has neither classes nor markups"),
        ('{"classes": []}', "classes is .*; give a list of one entry for each object"),
        ('{"classes": [1]}', r"classes\[0\] is 1; give a dict"),
        ('{"classes": [{"bix": 1}]}', r"classes\[0\] has 'bix'; give name, box, clicks, background"),
        ('{"classes": [{"box": [1]}]}', r"classes\[0\].box is \[1\]; give six numbers"),
        ('{"classes": [{"clicks": [[1, 2]]}]}', r"classes\[0\].clicks\[0\] is \[1, 2\]; give three numbers"),
        ('{"classes": [{"clicks": 5}]}', r"classes\[0\].clicks is 5; give a list of points"),
        ('{"classes": [{}], "coordinates": "mm"}', "coordinates is 'mm'; give voxel, LPS or RAS"),
        ('{"markups": [{"type": "ROI"}]}', r"markups\[0\].coordinateSystem is None; give LPS or RAS"),
        (
            '{"markups": [{"type": "Line", "coordinateSystem": "LPS"}]}',
            "type is 'Line'; give a Fiducial or a ROI",
        ),
        ('{"markups": [{"type": "ROI", "coordinateSystem": "LPS"}]}', "center is None; give three numbers"),
        (
            '{"markups": [{"coordinateSystem": "LPS", "coordinateUnits": "cm"}]}',
            "coordinateUnits is 'cm'; give mm",
        ),
    ],
)
def test_prompt_files_that_cannot_be_read_are_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(CaseError, match=r"p\.json: .*" + message) as error:
        ask(files=(tmp_path / "p.json",))
    assert "\n" not in str(error.value)


def slicer(kind: str, system: str, **values: Any) -> dict[str, Any]:
    """A markup as 3D Slicer 5 writes it."""
    return {
        "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/.../markups-schema-v1.0.3.json#",
        "markups": [
            {"type": kind, "coordinateSystem": system, "coordinateUnits": "mm", "locked": False, **values}
        ],
    }


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_slicers_roi_and_points(system: str, tmp_path: Path) -> None:
    ras = system == "RAS"
    corners = np.array([place(np.add(corner, 0.0), ras=ras) for corner in CORNERS])
    roi = slicer(
        "ROI",
        system,
        roiType="Box",
        center=corners.mean(0).tolist(),
        size=np.abs(corners[1] - corners[0]).tolist(),
        orientation=[-1, 0, 0, 0, -1, 0, 0, 0, 1],
    )
    points = [
        {"label": "F-1", "position": place((2, 3, 4), ras=ras), "positionStatus": "defined"},
        {"label": "F-2", "description": "background", "position": place((0, 0, 0), ras=ras)},
        {"label": "F-3", "position": [0, 0, 0], "positionStatus": "undefined"},
    ]
    (tmp_path / "liver.mrk.json").write_text(json.dumps(roi))
    (tmp_path / "F.mrk.json").write_text(json.dumps(slicer("Fiducial", system, controlPoints=points)))
    found = ask(files=(tmp_path / "liver.mrk.json", tmp_path / "F.mrk.json"))
    assert found.boxes == (BOX,)
    assert found.clicks == (Clicks(((2, 3, 4), (0, 0, 0)), (True, False)),)
    assert found.names == {1: "liver"}
    alone = ask(files=(tmp_path / "F.mrk.json",))
    assert (alone.boxes, alone.clicks) == ((), found.clicks)
    with pytest.raises(
        CaseError, match="2 ROIs and 1 lists of points, and nothing says which belong together"
    ):
        ask(files=(tmp_path / "liver.mrk.json",) * 2 + (tmp_path / "F.mrk.json",))


def test_a_roi_that_is_turned_becomes_the_box_that_holds_it(tmp_path: Path) -> None:
    found = scan(np.zeros((40, 40, 40), np.int16), np.diag([1.0, 1, 1, 1])[:, [2, 1, 0, 3]])
    turn = rotation((0, 0, 30))
    roi = slicer("ROI", "LPS", center=[20, 20, 20], size=[10, 6, 4], orientation=turn.ravel().tolist())
    (tmp_path / "r.mrk.json").write_text(json.dumps(roi))
    (box,) = ask(found, files=(tmp_path / "r.mrk.json",)).boxes
    corners = np.array([20 + turn @ (np.array(signs) * (5, 3, 2)) for signs in product((-1, 1), repeat=3)])
    assert box is not None
    assert (np.array(box.lower)[::-1] <= np.rint(corners.min(0))).all()
    assert (np.array(box.upper)[::-1] - 1 >= np.floor(corners.max(0) - 0.5)).all()
    assert box.shape[0] == 4 or box.shape[0] == 5


def test_a_mask_becomes_boxes_or_the_previous_answer(tmp_path: Path) -> None:
    labels = np.where(blobs() == 2, 4, blobs()).astype(np.uint8)
    write_labels(tmp_path / "a.nii.gz", labels, SCAN, "nifti")
    found = ask(mask=tmp_path / "a.nii.gz")
    assert found.boxes == (Box.measured(labels == 1), None, None, Box.measured(labels == 4))
    assert (found.clicks, found.previous, found.unasked) == ((), None, {2, 3})
    refined = ask(mask=tmp_path, mask_as="previous", clicks=("1:5,0,0",))
    np.testing.assert_array_equal(refined.previous, labels)
    assert refined.boxes == ()
    assert refined.clicks == (Clicks(((5, 0, 0),), (True,)), Clicks(), Clicks(), Clicks())
    assert refined.unasked == {2, 3}
    write_labels(tmp_path / "empty.nii.gz", labels * 0, SCAN, "nifti")
    with pytest.raises(CaseError, match=r"empty\.nii\.gz: has 0 labels; give 1 to 1,000"):
        ask(mask=tmp_path / "empty.nii.gz")
    (tmp_path / "a.nii.gz").unlink()
    with pytest.raises(CaseError, match=r"a: .* holds 0 files of mask with this name"):
        ask(mask=tmp_path)
