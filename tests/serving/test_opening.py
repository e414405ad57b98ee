"""Opening a scan: where labels go, masks to begin with, and unfinished work that comes back."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lexor.errors import CaseError
from lexor.inference.engine import Engine
from lexor.io.scan import Scan, read_mask, read_scan
from lexor.serving.opening import Opened, open_scan, work_file
from scan_files import affine, write_series

SHAPE = (8, 10, 12)


def write(path: Path, volume: np.ndarray) -> Path:
    nib.save(nib.nifti1.Nifti1Image(volume.transpose(2, 1, 0), np.diag([1.0, 2.0, 3.0, 1.0])), path)
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    rng = np.random.default_rng(0)
    return read_scan(write(tmp_path / "a.nii.gz", rng.integers(0, 300, SHAPE).astype(np.int16)))


def mask_file(path: Path, *labels: int) -> Path:
    mask = np.zeros(SHAPE, np.uint8)
    for z, label in enumerate(labels):
        mask[z, 2:5, 3:6] = label
    return write(path, mask)


def closed(opened: Opened) -> Path:
    opened.annotation.close()
    return opened.annotation.output


def labels_of(opened: Opened) -> np.ndarray:
    found = opened.annotation.whole().labels
    assert found is not None
    return found


def test_unfinished_work_comes_back(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    opened = open_scan(scan, bright)
    assert opened.restored == ""
    annotation = opened.annotation
    annotation.box((2, 2, 2), (8, 7, 5))
    annotation.click((3, 3, 3), positive=False)
    annotation.change(1, name="Liver", colour="#123456", locked=True)
    annotation.new_object()
    annotation.scribble(np.array([[9, 8, 6], [9, 9, 6]]), positive=True)
    labels = labels_of(opened)
    state = annotation.state()
    output = closed(opened)
    assert not output.exists()

    again = open_scan(scan, bright)
    assert again.restored == "Your unfinished work was restored: 2 objects. Undo begins anew."
    np.testing.assert_array_equal(labels_of(again), labels)
    same = ("current", "objects", "saved", "output", "kept")
    assert [again.annotation.state()[key] for key in same] == [state[key] for key in same]
    # What was said of voxels still holds: a later click leaves it so.
    again.annotation.select(1)
    again.annotation.click((5, 5, 4), positive=True)
    assert labels_of(again)[3, 3, 3] != 1
    again.annotation.save()
    closed(again)
    assert open_scan(scan, bright).annotation.state()["saved"]


def test_work_on_another_scan_stays_where_it_is(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    opened = open_scan(scan, bright)
    opened.annotation.click((3, 3, 3), positive=True)
    first = closed(opened)
    kept = work_file(first).read_bytes()
    other = read_scan(write(scan.source, np.zeros(SHAPE, np.int16)))
    again = open_scan(other, bright)
    assert again.restored == ""
    assert again.annotation.output == tmp_path / "a-labels-2.nii.gz"
    again.annotation.click((4, 4, 4), positive=True)
    closed(again)
    assert work_file(first).read_bytes() == kept
    with pytest.raises(CaseError, match="keeps work on another scan; or give another --output"):
        open_scan(other, bright, output=first)


def test_two_at_a_time_do_not_share_an_output(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    first = open_scan(scan, bright)
    second = open_scan(scan, bright)
    assert second.annotation.output == tmp_path / "a-labels-2.nii.gz"
    with pytest.raises(CaseError, match=r"a-labels\.nii\.gz is worked on by another `lexor view`; or give"):
        open_scan(scan, bright, output=first.annotation.output)
    closed(first)
    closed(second)
    assert closed(open_scan(scan, bright)) == first.annotation.output
    assert not list(tmp_path.glob(".*"))


def test_damaged_work_is_left_alone(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    damaged = work_file(tmp_path / "a-labels.nii.gz")
    damaged.write_bytes(b"no zip")
    opened = open_scan(scan, bright)
    assert closed(opened) == tmp_path / "a-labels-2.nii.gz"
    assert damaged.read_bytes() == b"no zip"


def test_a_file_that_is_there_is_not_replaced(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    there = mask_file(tmp_path / "a-labels.nii.gz", 1)
    assert closed(open_scan(scan, bright)) == tmp_path / "a-labels-2.nii.gz"
    with pytest.raises(CaseError, match=r"is there already: go on with it by --mask a-labels\.nii\.gz"):
        open_scan(scan, bright, output=there)
    # Unless it is what one goes on with.
    assert closed(open_scan(scan, bright, mask=there, output=there)) == there


def test_a_mask_is_what_objects_begin_with(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    mask = mask_file(tmp_path / "m.nii.gz", 1, 0, 3)
    opened = open_scan(scan, bright, mask=mask)
    state = opened.annotation.state()
    assert [each["voxels"] for each in state["objects"]] == [9, 0, 9]
    assert not state["saved"]
    with pytest.raises(CaseError, match="nothing to undo"):
        opened.annotation.undo()
    opened.annotation.click((11, 9, 7), positive=True)
    output = closed(opened)
    # The same mask goes on with the work, another one does not.
    again = open_scan(scan, bright, mask=mask)
    assert again.annotation.output == output
    assert again.restored
    closed(again)
    other = mask_file(tmp_path / "n.nii.gz", 2)
    assert closed(open_scan(scan, bright, mask=other)) == tmp_path / "a-labels-2.nii.gz"


def test_going_on_with_what_was_saved_over_its_own_mask(scan: Scan, bright: Engine, tmp_path: Path) -> None:
    mask = mask_file(tmp_path / "m.nii.gz", 1)
    opened = open_scan(scan, bright, mask=mask, output=mask)
    opened.annotation.click((11, 9, 7), positive=True)
    opened.annotation.save()
    closed(opened)
    again = open_scan(scan, bright, mask=mask, output=mask)
    assert again.restored
    np.testing.assert_array_equal(labels_of(again), labels_of(opened))
    closed(again)


def test_dicom_gives_a_dicom_segmentation_with_the_objects_names(bright: Engine, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", where=affine(angles=(20, -10, 40)))
    found = read_scan(tmp_path / "ct")
    opened = open_scan(found, bright)
    with pytest.raises(
        CaseError, match=r"^ct-labels\.seg\.dcm: DICOM holds no empty answer; point at an object first"
    ):
        opened.annotation.save()
    opened.annotation.click((2, 3, 4), positive=True)
    opened.annotation.change(1, name="Liver")
    opened.annotation.new_object()
    opened.annotation.click((8, 7, 1), positive=True)
    opened.annotation.save()
    output = closed(opened)
    assert output == tmp_path / "ct-labels.seg.dcm"
    labels, names = read_mask(output, found)
    assert names == {1: "Liver", 2: "Object 2"}
    np.testing.assert_array_equal(opened.annotation.orientation.to_view(labels), labels_of(opened))
    # And such a file is a mask to begin with.
    again = open_scan(found, bright, mask=output, output=tmp_path / "other.nii.gz")
    assert [each["name"] for each in again.annotation.state()["objects"]] == ["Liver", "Object 2"]
    np.testing.assert_array_equal(labels_of(again), labels_of(opened))
    closed(again)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "a.txt"}, r"a\.txt: no ending of a format; give for example NAME\.nii\.gz"),
        ({"output": "none/a.nii.gz"}, "nothing can be written there"),
        ({"mask": "big.nii.gz"}, "has a label 999; the viewer shows at most 255 objects"),
        ({"mask": "none.nii.gz"}, "no such file"),
        ({"window": "x"}, "--window is 'x'"),
    ],
)
def test_what_cannot_be_opened(
    scan: Scan, bright: Engine, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    labels = np.zeros(SHAPE, np.uint16)
    labels[0, 0, 0] = 999
    write(tmp_path / "big.nii.gz", labels)
    paths = {key: tmp_path / value for key, value in options.items() if key != "window"}
    with pytest.raises(CaseError, match=message):
        open_scan(scan, bright, window=options.get("window"), **paths)
