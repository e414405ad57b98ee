from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.inference.runlog import CaseRecord
from lexor.io.case import Case, write_case, write_segmentation
from lexor.viewing.answered import axes_of, read_answered, read_truth

SHAPE = (5, 8, 7)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:6, 1:5] = 1


def write(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), path)
    return path


@pytest.fixture
def record(tmp_path: Path) -> CaseRecord:
    """A CT in Hounsfield units, its slices slanting, answered."""
    affine = np.diag([-0.5, -0.5, 2.0, 1.0])
    affine[1, 2] = 0.6
    voxels = np.where(LABELS, 60, -1000).astype(np.int16)
    source = write(tmp_path / "in" / "CT_a.nii.gz", voxels, affine)
    output = write(tmp_path / "out" / "CT_a.nii.gz", LABELS, affine)
    write(tmp_path / "truth" / "CT_a.nii.gz", np.roll(LABELS, 1, 2) * 3, affine)
    return CaseRecord("CT_a", source, output, True, prompts=({"label": 1, "from": "box"},))


def test_a_scan_is_measured_in_its_own_units_and_place(record: CaseRecord) -> None:
    answered = read_answered(record)
    (found,) = answered.statistics()
    assert (found.unit, found.mean, found.sd) == ("HU", 60, 0)
    # The area of a voxel's base times the distance of slices, not times the way from one to the next.
    assert found.volume_ml == pytest.approx(48 * 0.5 * 0.5 * 2 / 1000)
    assert answered.axes == ("S", "P", "L")
    assert answered.case.volume[2, 3, 2] == round((60 + 160) / 400 * 255)
    lung = read_answered(record, {"window": "lung", "modality": "CT", "frame": None, "series": 3})
    assert lung.case.volume[2, 3, 2] == round((60 + 910) / 1500 * 255)


def test_truth_is_found_by_name_and_its_labels_are_classes(record: CaseRecord, tmp_path: Path) -> None:
    answered = read_answered(record)
    truth = read_truth(answered, record, tmp_path / "truth")
    np.testing.assert_array_equal(truth, np.roll(LABELS, 1, 2))
    with pytest.raises(CaseError, match=r"CT_a: .* holds no labels of that name"):
        read_truth(answered, record, tmp_path / "in" / "..")
    write(tmp_path / "truth" / "CT_a.nii.gz", LABELS * 0, np.diag([-0.5, -0.5, 2.0, 1.0]))
    with pytest.raises(CaseError, match=r"CT_a.nii.gz"):
        read_truth(answered, record, tmp_path / "truth")


def test_a_challenge_case_without_spacing_has_no_volume(tmp_path: Path) -> None:
    write_case(tmp_path / "US_a.npz", Case("US_a", LABELS * 50))
    (tmp_path / "out").mkdir()
    write_segmentation(tmp_path / "out" / "US_a.npz", LABELS)
    answered = read_answered(CaseRecord("US_a", tmp_path / "US_a.npz", tmp_path / "out" / "US_a.npz", True))
    (found,) = answered.statistics()
    assert (found.volume_ml, found.mean, found.unit) == (None, 50, "grey value 0-255")
    assert answered.axes == ()


def test_axes_point_where_the_geometry_says() -> None:
    towards = {
        "L": (1, 0, 0),
        "R": (-1, 0, 0),
        "P": (0, 1, 0),
        "A": (0, -1, 0),
        "S": (0, 0, 1),
        "I": (0, 0, -1),
    }
    tilt = np.array([[0, 0.2, 0], [-0.2, 0, 0.1], [0, -0.1, 0]])
    for triple in product("LR", "PA", "SI"):
        for order in permutations(triple):
            affine = np.eye(4)
            affine[:3, :3] = (np.eye(3) + tilt) @ np.array([towards[end] for end in order]).T * (3, 1, 0.5)
            assert axes_of(affine) == order
    between = np.eye(4)
    between[:3, :3] = [[1, 1, 0], [0.9, 0.1, 0], [0, 0, 1]]
    assert axes_of(between) == ()
