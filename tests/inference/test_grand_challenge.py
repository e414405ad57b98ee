"""grand-challenge.org's interface: both spellings of inputs.json, points and boxes in millimetres, one .mha out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from lexor.cli import app
from lexor.errors import CaseError
from lexor.geometry import Clicks
from lexor.inference.grand_challenge import Job, answer_job
from lexor.inference.prediction import Prediction
from lexor.inference.targets import resolve_targets
from lexor.io.case import Case
from lexor.io.scan import write_labels
from lexor.io.scans.label_maps import write_volume
from scan_files import affine, blobs, scan, voxels, write_series

WHERE = affine(angles=(0, 0, 20))


class Remembering:
    """Answers with the boxes it is asked for, and keeps the case."""

    def segment(self, case: Case) -> Prediction:
        self.case = case
        labels = np.zeros(case.volume.shape, np.uint8)
        for index, box in enumerate(case.boxes, 1):
            if box is not None:
                labels[box.slices] = index
        return Prediction(labels, tuple(resolve_targets(case)[0]), (), 0.0)


def value(slug: str, place: str, image: bool, key: str = "socket") -> dict[str, Any]:
    """An entry of inputs.json, as written today or before 2025 ("interface")."""
    if key == "socket":
        return {
            "file": None,
            "value": None,
            key: {"slug": slug, "relative_path": place, "is_image_kind": image},
        }
    kind = {"kind": "Image" if image else "Anything", "super_kind": "Image" if image else "Value"}
    return {"file": None, "value": None, key: {"slug": slug, "relative_path": place, **kind}}


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A job with a CT and an age."""
    folder = tmp_path / "input" / "images" / "thorax-ct"
    folder.mkdir(parents=True)
    write_volume(folder / "3f1c.mha", scan(where=WHERE), "mha")
    (tmp_path / "input" / "age.json").write_text("42")
    listed = [value("thorax-ct-image", "images/thorax-ct", True), value("age", "age.json", False)]
    (tmp_path / "input" / "inputs.json").write_text(json.dumps(listed))
    return tmp_path / "input"


def add(inputs: Path, *entries: dict[str, Any], **files: Any) -> None:
    """More inputs, and the content of their files by name."""
    listed = json.loads((inputs / "inputs.json").read_text())
    (inputs / "inputs.json").write_text(json.dumps([*listed, *entries]))
    for name, content in files.items():
        (inputs / f"{name}.json").write_text(json.dumps(content))


def place(*voxel: float) -> list[float]:
    return [float(value) for value in (WHERE @ [*voxel, 1])[:3]]


def answer(inputs: Path, **job: Any) -> tuple[Path, Case]:
    predictor = Remembering()
    path, _ = answer_job(
        Job(inputs, inputs.parent / "output", "lesion-segmentation", **job),
        predictor,  # type: ignore[arg-type]
    )
    return path, predictor.case


@pytest.mark.parametrize("key", ["socket", "interface"])
def test_an_image_with_boxes_and_its_answer_at_the_same_place(inputs: Path, key: str) -> None:
    corners = [place(z, y, x) for z in (1, 4) for y in (2, 6) for x in (3, 8)]
    boxes = {"type": "Multiple 3D bounding boxes", "boxes": [{"name": "lesion", "corners": corners}]}
    listed = [value("thorax-ct-image", "images/thorax-ct", True, key), value("boxes", "b.json", False, key)]
    (inputs / "inputs.json").write_text(json.dumps(listed))
    (inputs / "b.json").write_text(json.dumps(boxes))
    path, case = answer(inputs)
    assert path == inputs.parent / "output" / "images" / "lesion-segmentation" / "output.mha"
    assert len(case.boxes) == 1
    low, high = case.boxes[0].lower, case.boxes[0].upper  # type: ignore[union-attr]
    np.testing.assert_allclose(low, (1, 2, 3), atol=1)
    np.testing.assert_allclose(high, (5, 7, 9), atol=1)
    image, found = (sitk.ReadImage(str(p)) for p in (next((inputs / "images" / "thorax-ct").iterdir()), path))
    for voxel in ((0, 0, 0), (9, 7, 5)):
        np.testing.assert_allclose(
            found.TransformIndexToPhysicalPoint(voxel), image.TransformIndexToPhysicalPoint(voxel), atol=1e-3
        )
    assert (
        sitk.GetArrayFromImage(found).sum()
        == case.boxes[0].shape[0] * case.boxes[0].shape[1] * case.boxes[0].shape[2]
    )  # type: ignore[union-attr]


def test_points_are_clicks_and_those_named_background_are_beside_the_object(inputs: Path) -> None:
    points = [{"name": "tumor", "point": place(2, 3, 4)}, {"name": "background", "point": place(5, 7, 9)}]
    entry = value("lesion-clicks", "clicks.json", False)
    add(inputs, entry, clicks={"type": "Multiple points", "points": points})
    _, case = answer(inputs)
    assert case.clicks == (Clicks(((2, 3, 4), (5, 7, 9)), (True, False)),)
    (inputs / "clicks.json").write_text(json.dumps({"type": "Point", "point": place(2, 3, 4)}))
    assert answer(inputs)[1].clicks == (Clicks(((2, 3, 4),), (True,)),)
    box = {"type": "2D bounding box", "corners": [place(2, y, x) for y in (2, 4) for x in (3, 6)]}
    add(inputs, value("box", "box.json", False), box=box)
    _, case = answer(inputs)
    assert case.boxes[0] is not None
    assert case.boxes[0].lower[0] == 2
    assert case.clicks == (Clicks(((2, 3, 4),), (True,)),)


def test_the_window_and_the_modality_of_the_slug(inputs: Path) -> None:
    soft = np.rint((np.clip(voxels().astype(float), -160, 240) + 160) / 400 * 255)
    np.testing.assert_allclose(answer(inputs)[1].volume, soft, atol=1)
    bone = np.rint((np.clip(voxels().astype(float), -500, 1300) + 500) / 1800 * 255)
    np.testing.assert_allclose(answer(inputs, window="bone")[1].volume, bone, atol=1)
    assert np.abs(answer(inputs, modality="MR")[1].volume - soft).max() > 20


def test_the_last_answer_is_an_image_of_its_own(inputs: Path) -> None:
    folder = inputs / "images" / "previous"
    folder.mkdir()
    write_labels(folder / "p.mha", blobs(), scan(where=WHERE), "mha")
    add(inputs, value("previous-segmentation", "images/previous", True))
    with pytest.raises(
        CaseError, match="its images are 'thorax-ct-image', 'previous-segmentation'; say which"
    ):
        answer(inputs)
    _, case = answer(inputs, previous_slug="previous-segmentation")
    np.testing.assert_array_equal(case.previous, blobs())
    _, case = answer(inputs, image_slug="thorax-ct-image")
    assert case.previous is None


def test_a_dicom_series_is_an_image_too(inputs: Path) -> None:
    (inputs / "images" / "thorax-ct" / "3f1c.mha").unlink()
    write_series(inputs / "images" / "thorax-ct", where=WHERE)
    path, _ = answer(inputs)
    assert sitk.ReadImage(str(path)).GetSize() == (10, 8, 6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"inputs.json is \{\}; give the list"),
        ("[1]", r"inputs.json: \[0\] is 1; give a socket"),
        ("[]", "its images are none; say which to segment by --image-slug"),
        (json.dumps([value("a", "../../etc", True)]), "relative_path '../../etc'; give one inside of"),
        (json.dumps([value("a", "images/none", True)]), "holds 0 images; give one"),
    ],
)
def test_jobs_that_cannot_be_done(content: str, message: str, inputs: Path) -> None:
    (inputs / "inputs.json").write_text(content)
    with pytest.raises(CaseError, match=message):
        answer(inputs)


def test_the_command_as_a_container_runs_it(inputs: Path) -> None:
    box = {"type": "3D bounding box", "corners": [place(1, 2, 3), place(4, 6, 8)]}
    add(inputs, value("box", "box.json", False), box=box)
    output = inputs.parent / "out"
    arguments = ["grand-challenge", "--input", str(inputs), "--output", str(output), "--device", "cpu"]
    done = CliRunner().invoke(app, arguments, env={"LEXOR_OUTPUT_SLUG": "lesion"})
    assert done.exit_code == 0, done.output
    assert f"{output}/images/lesion/output.mha: 1 class, " in done.output
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "images" / "lesion" / "output.mha")))
    assert labels.shape == (6, 8, 10)
    assert labels.dtype == np.uint8
    (inputs / "inputs.json").unlink()
    done = CliRunner().invoke(app, arguments, env={"LEXOR_OUTPUT_SLUG": "lesion"})
    assert done.exit_code == 2
    assert "inputs.json: no such file" in done.output
