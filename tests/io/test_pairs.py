import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.evaluation.cases import truth_of
from lexor.geometry import Box
from lexor.io.case import Case, write_case
from lexor.io.pairs import Pair, labelled_in, open_labelled

AFFINE = np.diag([0.8, 0.7, 3.0, 1.0])
LABELS = np.zeros((6, 9, 8), np.uint8)
LABELS[1:4, 2:6, 3:7] = 2
LABELS[4:6, 7:9, 0:2] = 5


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """A volume (D, H, W) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), path)
    return path


def hounsfield(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, LABELS.shape).astype(np.int16)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two labelled scans of a hospital."""
    images, labels = tmp_path / "liver" / "images", tmp_path / "liver" / "labels"
    for name in ("b", "a"):
        write(images / f"{name}.nii.gz", hounsfield())
        write(labels / f"{name}.nii.gz", LABELS)
    return images, labels


def nnunet(folder: Path, facts: dict[str, object], channels: tuple[str, ...] = ("_0000",)) -> Path:
    for channel in channels:
        write(folder / "imagesTr" / f"x_1{channel}.nii.gz", hounsfield())
    write(folder / "labelsTr" / "x_1.nii.gz", LABELS)
    (folder / "dataset.json").write_text(json.dumps(facts), "utf-8")
    return folder


def test_two_folders_are_paired_by_name(folders: tuple[Path, Path]) -> None:
    found, notes = labelled_in(*folders, modality="CT")
    assert notes == []
    assert [source.stem for source in found] == ["CT_liver_a", "CT_liver_b"]
    case, labels = open_labelled(found[0])
    np.testing.assert_array_equal(labels, LABELS)
    assert (case.name, case.modality, labels.dtype) == ("CT_liver_a", "CT", np.uint8)
    assert case.spacing == pytest.approx((3.0, 0.7, 0.8))
    assert case.boxes == (Box((1, 2, 3), (4, 6, 7), 2), Box((4, 7, 0), (6, 9, 2), 5))
    expected = np.clip((hounsfield() + 160) / 400 * 255, 0, 255)  # the soft-tissue window
    assert np.abs(case.volume - expected).max() <= 0.5
    # Scores take the i-th label as class i, of which the i-th box is.
    np.testing.assert_array_equal(np.unique(truth_of(case, found[0])), [0, 1, 2])
    other, _ = open_labelled(labelled_in(*folders, modality="CT", window="bone")[0][0])
    assert (other.volume != case.volume).any()


def test_a_data_set_of_nnunet_tells_its_modality(tmp_path: Path) -> None:
    folder = nnunet(tmp_path / "Dataset007_My_Liver", {"channel_names": {"0": "CT"}, "labels": {"liver": 1}})
    ((pair,), notes) = labelled_in(folder)
    assert isinstance(pair, Pair)
    assert (pair.stem, pair.modality, notes) == ("CT_Dataset007-My-Liver_x_1", "CT", [])
    assert pair.image.name == "x_1_0000.nii.gz"
    assert pair.labels.name == "x_1.nii.gz"


@pytest.mark.parametrize(
    ("facts", "modality"),
    [
        ({"modality": {"0": "MRI"}}, "MR"),
        ({"channel_names": {"0": "T2"}}, "MR"),
        ({"channel_names": {"0": "FLAIR"}}, "MR"),
        ({"channel_names": {"0": "pet"}}, "PET"),
        ({"channel_names": {"0": "noNorm"}}, None),
        ({"channel_names": ["CT"]}, None),
        ({}, None),
    ],
)
def test_channels_that_say_nothing_leave_the_modality_open(
    tmp_path: Path, facts: dict[str, object], modality: str | None
) -> None:
    ((pair,), _) = labelled_in(nnunet(tmp_path / "D", facts, ("",)))
    assert isinstance(pair, Pair)
    assert pair.modality == modality
    assert pair.stem == f"{modality or 'Scan'}_D_x_1"


def test_of_several_channels_the_first_is_taken_and_said(tmp_path: Path) -> None:
    ((pair,), notes) = labelled_in(nnunet(tmp_path / "D", {}, ("_0001", "_0000")))
    assert isinstance(pair, Pair)
    assert pair.image.name == "x_1_0000.nii.gz"
    assert notes == ["x_1_0001.nii.gz: another channel of x_1; only the first is used"]


def test_what_is_not_known_is_background(tmp_path: Path) -> None:
    ((pair,), _) = labelled_in(nnunet(tmp_path / "D", {"labels": {"background": 0, "a": 2, "ignore": 5}}))
    np.testing.assert_array_equal(open_labelled(pair)[1], np.where(LABELS == 2, 2, 0))


def test_files_without_a_partner_are_named(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    write(images / "alone.nii.gz", hounsfield())
    write(labels / "c.nii.gz", LABELS)
    found, notes = labelled_in(images, labels)
    assert len(found) == 2
    assert notes == [
        f"alone.nii.gz: {labels} has no labels of that name; the image is passed over",
        f"c.nii.gz: {images} has no image of that name; the labels are passed over",
    ]
    (labels / "a.nii.gz").unlink()
    (labels / "b.nii.gz").unlink()
    with pytest.raises(CaseError, match="no file there has the name of one in"):
        labelled_in(images, labels)


def test_labels_that_lie_elsewhere_are_an_error(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    moved = AFFINE.copy()
    moved[0, 3] = 5
    for affine in (moved, np.diag([0.8, 0.7, 3.3, 1.0])):
        write(labels / "a.nii.gz", LABELS, affine)
        with pytest.raises(CaseError, match=r"a.nii.gz: its grid is not that of a.nii.gz: .*; resample it"):
            open_labelled(labelled_in(images, labels)[0][0])
    # By whole voxels: what is marked is still inside.
    moved[0, 3] = 0.8
    for array in (LABELS, LABELS[1:]):
        write(labels / "a.nii.gz", array, moved)
        with pytest.raises(CaseError, match=r"a.nii.gz: covers another part of the patient than its image"):
            open_labelled(labelled_in(images, labels)[0][0])


def test_labels_that_are_turned_round_lie_where_they_lie(folders: tuple[Path, Path]) -> None:
    turned = AFFINE @ np.array([[-1, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    write(folders[1] / "a.nii.gz", LABELS[:, :, ::-1], turned)
    np.testing.assert_array_equal(open_labelled(labelled_in(*folders)[0][0])[1], LABELS)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (LABELS * 0, "has no label above 0"),
        (LABELS.astype(np.int16) - 1, r"has labels -1\.\.4; give 0\.\.65535"),
        (LABELS.astype(np.int32) * 20000, r"has labels 0\.\.100000"),
        (LABELS.astype(np.float32) / 2, "and holds 2.5; give integer labels"),
    ],
)
def test_labels_that_are_none_are_an_error(
    folders: tuple[Path, Path], array: np.ndarray, expected: str
) -> None:
    write(folders[1] / "a.nii.gz", array)
    with pytest.raises(CaseError, match=f"a.nii.gz:? .*{expected}"):
        open_labelled(labelled_in(*folders)[0][0])


def test_whole_numbers_in_floats_are_labels(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "a.nii.gz", LABELS.astype(np.float32) * 100)
    pair = labelled_in(*folders)[0][0]
    assert isinstance(pair, Pair)
    _, labels = open_labelled(pair)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, LABELS.astype(np.uint16) * 100)


def test_challenge_cases_are_opened_by_the_same_function(tmp_path: Path) -> None:
    case = Case("CT_a", hounsfield().astype(np.uint8), (3.0, 1.0, 1.0))
    write_case(tmp_path / "CT_a.npz", case, LABELS)
    (found, notes) = labelled_in(tmp_path)
    assert (found, notes) == ([tmp_path / "CT_a.npz"], [])
    opened, labels = open_labelled(found[0])
    assert opened.name == "CT_a"
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '"x"'])
def test_a_dataset_json_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text, "utf-8")
    with pytest.raises(CaseError, match=r"dataset.json: is .*; give nnU-Net's dataset.json"):
        labelled_in(tmp_path)


def test_folders_that_hold_nothing_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"holds no .npz file and no dataset.json; give challenge cases"):
        labelled_in(tmp_path)
    with pytest.raises(CaseError, match="no such folder; give one of images and one of labels"):
        labelled_in(tmp_path, tmp_path / "no")
