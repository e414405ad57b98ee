"""`lexor predict` and `lexor convert` on scans."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.inference.runlog import LOG
from lexor.io.case import Case, write_case
from lexor.io.scan import read_mask, read_scan, write_labels
from lexor.io.scans.label_maps import ENDINGS, write_volume
from scan_files import affine, blobs, scan, voxels, write_series

WHERE = affine((2.0, 1.0, 1.0), (5, 10, 15))


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    """A bright ball in CT numbers."""
    z, y, x = np.ogrid[:16, :32, :32]
    inside = ((z - 8) / 4) ** 2 + ((y - 15) / 7) ** 2 + ((x - 17) / 7) ** 2 <= 1
    noise = np.random.default_rng(0).normal(0, 10, inside.shape)
    return (np.where(inside, 150, 0) + noise).astype(np.int16)


BOX = ["--box", "4,8,10,12,22,24"]


def run(*arguments: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == status, done.output
    return done.output


def test_from_a_dicom_folder_to_a_dicom_seg(tmp_path: Path, ball: np.ndarray) -> None:
    write_series(tmp_path / "patient", ball, WHERE)
    output = run(
        "predict", tmp_path / "patient", tmp_path / "out", "--device", "cpu", *BOX, "--name", "Liver"
    )
    assert "patient: 16x32x32, prompts: 1 box, 1 class, " in output
    path = tmp_path / "out" / "patient.seg.dcm"
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [LOG, path.name]
    labels, names = read_mask(path, read_scan(tmp_path / "patient"))
    assert names == {1: "Liver"}
    assert labels[8, 15, 17] == 1
    assert labels[0, 0, 0] == 0
    assert pydicom.dcmread(path).SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    run(
        "predict", tmp_path / "patient", tmp_path / "out", "--device", "cpu", *BOX
    )  # its own answer is replaced
    again = run(
        "predict", tmp_path / "patient", tmp_path / "a.nii.gz", "--device", "cpu", "--from-mask", path
    )
    assert again.splitlines()[-1] == f"1 of 1 case answered: {tmp_path}/a.nii.gz"
    image = nib.load(tmp_path / "a.nii.gz")
    assert np.asarray(image.dataobj)[17, 15, 8] == 1
    np.testing.assert_allclose(image.affine @ [3, 2, 1, 1] * (-1, -1, 1, 1), WHERE @ [1, 2, 3, 1], atol=1e-3)


def test_scans_and_cases_in_one_folder_each_in_its_own_format(
    tmp_path: Path, ball: np.ndarray, ball_case: Case
) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    for patient in ("p1", "p2"):
        write_series(inputs / patient / "CT", ball, WHERE)
    write_case(inputs / "CT_a.npz", ball_case)
    for name, format in (
        ("CT_b.nii.gz", "nifti"),
        ("CT_d.mha", "mha"),
        ("CT_e.tif", "tiff"),
    ):
        write_volume(inputs / name, scan(ball, WHERE), format)  # type: ignore[arg-type]
    (inputs / "bad.nii.gz").write_bytes(b"\x1f\x8b")
    output = run("predict", inputs, outputs, "--device", "cpu", "--prompt", "intensity", status=1)
    assert "6 of 7 cases answered" in output
    assert "bad.nii.gz: FAILED: cannot be read as NIfTI" in output
    answers = [
        "CT_a.npz",
        "CT_b.nii.gz",
        "CT_d.mha",
        "CT_e.ome.tif",
        "p1_CT.seg.dcm",
        "p2_CT.seg.dcm",
    ]
    assert sorted(path.name for path in outputs.iterdir() if path.name != LOG) == answers
    for name in answers[1:4]:
        labels, _ = read_mask(outputs / name, scan(ball, WHERE))
        assert labels.any()


def test_labels_of_a_mask_keep_their_numbers_and_gaps_stay_empty(tmp_path: Path, ball: np.ndarray) -> None:
    write_volume(tmp_path / "CT_a.nrrd", scan(ball, WHERE), "nrrd")
    mask = np.zeros(ball.shape, np.uint8)
    mask[4:13, 8:23, 10:25] = 3
    mask[1:3, 1:5, 1:5] = 7
    write_labels(tmp_path / "m.nii.gz", mask, scan(ball, WHERE), "nifti")
    output = run(
        "predict",
        tmp_path / "CT_a.nrrd",
        tmp_path / "b.nrrd",
        "--device",
        "cpu",
        "--from-mask",
        tmp_path / "m.nii.gz",
    )
    assert "prompts: 2 boxes, 2 classes" in output
    labels = read_scan(tmp_path / "b.nrrd").voxels
    assert set(np.unique(labels)) - {7} == {0, 3}
    assert labels[8, 15, 17] == 3


def test_nothing_but_an_answer_is_replaced(tmp_path: Path, ball: np.ndarray) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    nib.save(nib.Nifti1Image(ball.T, np.eye(4)), inputs / "a.nii.gz")
    nib.save(nib.Nifti1Image(ball.T, np.eye(4)), outputs / "a.nii.gz")
    before = (outputs / "a.nii.gz").read_bytes()
    output = run("predict", inputs, outputs, "--device", "cpu", *BOX, status=1)
    assert "a.nii.gz: what is there is no answer of Lexor, and stays; move it away" in output
    assert (outputs / "a.nii.gz").read_bytes() == before
    output = run("predict", inputs, inputs, "--device", "cpu", *BOX, status=2)
    assert "the answers would replace the cases; give another folder for them" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--window", "liver"],
            "error: --window is 'liver'; give soft-tissue, lung, brain, bone, or WIDTH,LEVEL",
        ),
        (["--format", "nrrd"], "is named as nifti, and --format is nrrd; give one of both"),
        (
            ["--box", "1,2,3,4,5,6", "--prompt", "auto"],
            "--prompt auto asks for no prompts, and some are given",
        ),
        (["--box", "1,2"], "--box is '1,2'; give 6 numbers"),
        (["--probabilities"], "nifti has no place for probabilities; give --format npz, or leave them out"),
    ],
)
def test_options_that_make_no_sense_are_named(
    arguments: list[str], message: str, tmp_path: Path, ball: np.ndarray
) -> None:
    write_volume(tmp_path / "a.nii.gz", scan(ball, WHERE), "nifti")
    done = CliRunner().invoke(
        app,
        ["predict", str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"), "--device", "cpu", *arguments],
    )
    assert done.exit_code in (1, 2)
    assert message in done.output
    assert not (tmp_path / "b.nii.gz").exists()


def test_prompts_of_one_scan_and_a_file_for_several(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_volume(tmp_path / "in" / f"{name}.nii.gz", scan(), "nifti")
    output = run("predict", tmp_path / "in", tmp_path / "out", "--device", "cpu", *BOX, status=2)
    assert "these prompts are for one scan, and there are 2" in output
    output = run("predict", tmp_path / "in", tmp_path / "out.nii.gz", "--device", "cpu", status=2)
    assert "one file for 2 answers; give a folder" in output


def test_convert_there_and_back(tmp_path: Path) -> None:
    write_series(tmp_path / "a", voxels(), affine())
    output = run("convert", tmp_path / "a", tmp_path / "cases", *["--box", "1,2,3,4,6,8"], "--window", "bone")
    assert output == f"a: 6x8x10, case with boxes: {tmp_path}/cases/a.npz\n"
    assert sorted(np.load(tmp_path / "cases" / "a.npz").files) == [
        *("affine", "boxes", "imgs", "spacing"),
    ]
    run("convert", tmp_path / "a", tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj).T, voxels())
    output = run("convert", tmp_path / "a", tmp_path / "a.seg.dcm", status=1)
    assert "FAILED" in output
    output = run("convert", tmp_path / "gone", tmp_path / "x", status=2)
    assert "no such file or folder" in output


@pytest.mark.parametrize("format", ["nifti", "nrrd", "mha", "tiff", "npz"])
def test_a_converted_scan_is_no_answer_and_is_never_replaced(format: str, tmp_path: Path) -> None:
    write_series(tmp_path / "CT", voxels(), affine())
    scan_file = tmp_path / f"scan{ENDINGS[format]}"  # type: ignore[index]
    run("convert", tmp_path / "CT", scan_file)
    before = scan_file.read_bytes()
    place = [tmp_path / "CT", scan_file]
    output = run("predict", *place, "--device", "cpu", *SMALL, status=2 if format == "npz" else 1)
    assert ("only answers are replaced" if format == "npz" else "no answer of Lexor") in output
    run("predict", *place, "--device", "cpu", *BAD, status=2 if format == "npz" else 1)
    run("convert", *place, status=2 if format == "npz" else 1)
    assert scan_file.read_bytes() == before
    # Labels that were converted are an answer, as one that was predicted is.
    write_labels(tmp_path / "m.nii.gz", blobs(), read_scan(tmp_path / "CT"), "nifti")
    for _ in range(2):
        run("convert", tmp_path / "m.nii.gz", tmp_path / f"m2{ENDINGS[format]}", "--labels")  # type: ignore[index]


def test_a_box_partly_outside_is_cut_with_a_warning_and_spare_names_are_said(tmp_path: Path) -> None:
    write_volume(tmp_path / "CT_a.nii.gz", scan(), "nifti")
    given = ["--device", "cpu", "--box", "1,2,3,600,6,8", "--name", "Liver", "--name", "Spleen"]
    output = run("predict", tmp_path / "CT_a.nii.gz", tmp_path / "out", *given)
    assert (
        "warning: CT_a: box of class 1 is 1,2,3,600,6,8 in voxels, and the scan has shape (6, 8, 10); "
        "it is cut to 1,2,3,5,6,8" in output
    )
    assert "--name is given 2 times, and the answer has 1 class; the names beyond are not used" in output
    assert output.splitlines()[-1] == f"1 of 1 case answered: {tmp_path}/out/CT_a.nii.gz"
    assert "cut to" not in run(
        "predict", tmp_path / "CT_a.nii.gz", tmp_path / "out", "--device", "cpu", *SMALL
    )


@pytest.mark.parametrize("command", ["predict", "convert"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--box", "1,2"], "give 6 numbers: Z0,Y0,X0,Z1,Y1,X1, or with --world X0,Y0,Z0,X1,Y1,Z1"),
        (["--click", "10,285,a"], "--click is '10,285,a'; give 3 numbers: Z,Y,X, or with --world X,Y,Z"),
        (["--prompts", "gone.json"], "--prompts: gone.json: no such file"),
        (["--from-mask", "gone.nii"], "--from-mask: gone.nii: no such file"),
    ],
)
def test_a_wrong_option_is_known_before_anything_is_read(
    command: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    write_volume(tmp_path / "a.nii.gz", scan(), "nifti")
    assert message in run(command, tmp_path / "a.nii.gz", tmp_path / "out", *arguments, status=2)
    assert not (tmp_path / "out").exists()


def test_formats_that_no_source_has_place_for_end_the_run(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", scan(), "nifti")
    given = ["predict", tmp_path / "a.nii.gz", tmp_path / "out", "--device", "cpu"]
    assert "a.nii.gz is none; give another format" in run(*given, "--format", "dicom-seg", status=2)
    assert "a.nii.gz is none" in run(
        "convert", tmp_path / "a.nii.gz", tmp_path / "out", "--format", "rtstruct", status=2
    )
    assert "nifti has no place for probabilities" in run(*given, "--probabilities", status=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["predict", "convert"])
def test_a_file_of_a_foreign_format_is_no_folder(command: str, tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", scan(), "nifti")
    output = run(command, tmp_path / "a.nii.gz", tmp_path / "x.jpg", status=2)
    assert "x.jpg: .jpg is no format that is written; give a file that ends in .nii.gz, .nrrd" in output
    assert not (tmp_path / "x.jpg").exists()
    (tmp_path / "y.jpg").mkdir()
    for folder in ("y.jpg", "study.2024"):
        run("convert", tmp_path / "a.nii.gz", tmp_path / folder)
        assert (tmp_path / folder / "a.npz").is_file()


def test_a_link_and_the_folder_of_the_terminal_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "stored", voxels(), affine())
    (tmp_path / "CT").symlink_to(tmp_path / "stored")
    assert run("convert", tmp_path / "CT", tmp_path / "out").startswith("CT: 6x8x10")
    monkeypatch.chdir(tmp_path / "CT")
    monkeypatch.setenv("PWD", str(tmp_path / "elsewhere"))
    run("convert", ".", tmp_path / "out")
    monkeypatch.setenv("PWD", str(tmp_path / "CT"))
    run("convert", ".", tmp_path / "out2")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["CT.npz", "stored.npz"]
    assert [one.name for one in (tmp_path / "out2").iterdir()] == ["CT.npz"]


def test_a_series_without_a_number_is_named_by_what_it_has(tmp_path: Path) -> None:
    write_series(tmp_path / "CT", voxels(), affine())
    for path in (tmp_path / "CT").iterdir():
        data = pydicom.dcmread(path)
        data.SeriesNumber, data.PatientID, data.PatientName = None, "", ""
        data.SeriesInstanceUID, data.SeriesDescription = "", "CT Body 3.0"
        data.save_as(path)
    output = run("convert", tmp_path / "CT", tmp_path / "out", "--series", "5", status=1)
    assert "CT: FAILED: --series is '5', and it holds one: CT 'CT Body 3.0', 6 slices; leave out" in output
    output = run("convert", tmp_path / "CT", tmp_path / "out", "--frame", "3", status=1)
    assert "CT: FAILED: --frame is 3, and it holds one volume; leave out --frame" in output


SMALL = ["--box", "1,2,3,4,6,8"]
# A failed case loses its stale answer, and nothing else.
BAD = ["--box", "90,2,3,94,6,8"]


def test_prompt_reads_a_scan_as_predict_does(tmp_path: Path, ball: np.ndarray) -> None:
    where = tmp_path / "patient7.nii.gz"
    write_volume(where, scan(ball, WHERE), "nifti")
    command = ("prompt", where, "--method", "intensity", "--json", "--device", "cpu")
    bright = run(*command, "--modality", "CT", "--window", "100,100")
    # All of it is above this window, so it is one grey: the box is the whole volume.
    (box,) = json.loads(run(*command, "--window", "1,-500"))
    assert (box["z_min"], box["z_max"], box["z_mid_x_max"]) == (0, 15, 31)
    assert json.loads(bright) != [box]
    assert run(*command, "--window", "wide", status=2).startswith("error: ")
