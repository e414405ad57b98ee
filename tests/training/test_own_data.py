"""Scans and labels of one's own: trained on and scored."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from golden import Balls
from typer.testing import CliRunner

from lexor.cli import app
from lexor.evaluation.evaluate import Settings, evaluate_cases, identity
from lexor.evaluation.results import CaseResult, Record
from lexor.inference.predictor import Predictor
from lexor.io.case import Case
from lexor.io.pairs import labelled_in
from lexor.models.factory import create_model
from lexor.training.config import DataConfig, TrainingError, load_config
from lexor.training.labelled import Targets
from lexor.training.pack import manifest_of, pack, read_pack
from lexor.training.subjects import Subjects

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), AFFINE), path)


@pytest.fixture
def hospital(tmp_path: Path, ball_case: Case) -> Path:
    """A data set in nnU-Net's layout: three CTs of the ball, labelled 4."""
    folder = tmp_path / "Dataset001_Ball"
    box = ball_case.boxes[0]
    assert box is not None
    labels = np.zeros(ball_case.volume.shape, np.uint8)
    labels[box.slices] = 4
    for number in range(3):
        # The soft-tissue window gives the case's grey values back.
        write(
            folder / "imagesTr" / f"p{number}_0000.nii.gz",
            (ball_case.volume / 255 * 400 - 160).astype(np.int16),
        )
        write(folder / "labelsTr" / f"p{number}.nii.gz", labels)
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}}), "utf-8")
    return folder


def test_subjects_are_read_from_scans(hospital: Path, ball_case: Case) -> None:
    by_layout = Subjects(DataConfig(paths=(hospital,)))
    assert [entry.name for entry in by_layout.entries] == [f"CT_Dataset001-Ball_p{i}" for i in range(3)]
    assert {entry.source for entry in by_layout.entries} == {"CT_Dataset001-Ball"}
    apart = DataConfig(
        paths=(hospital / "imagesTr",), labels=(hospital / "labelsTr",), modality="CT", window="400,40"
    )
    for subjects in (by_layout, Subjects(apart)):
        subject = subjects.get(0)
        assert subject is not None
        assert np.abs(subject.image.astype(int) - ball_case.volume).max() <= 1
        assert subject.ratio == 2
        assert isinstance(subject.targets, Targets)
        assert subject.targets.values == [4]


def test_a_case_that_does_not_fit_its_labels_is_left_out_with_a_line(
    hospital: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(hospital / "labelsTr" / "p1.nii.gz", np.ones((2, 3, 4), np.uint8))
    subjects = Subjects(DataConfig(paths=(hospital,)))
    assert subjects.get(1) is None
    assert "p1.nii.gz: covers another part of the patient than its image" in caplog.text
    assert subjects.get(2) is not None


def test_labels_of_every_path_or_of_none(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="labels are 1 folders, paths 2; give the labels of each path"):
        load_config("smoke", {"data.paths": ["a", "b"], "data.labels": ["c"]})
    with pytest.raises(TrainingError, match=r"data.paths: .*no such folder; give one of images and one"):
        Subjects(DataConfig(paths=(tmp_path / "a",), labels=(tmp_path / "b",)))


def test_scans_are_packed_and_named_by_both_their_files(hospital: Path, tmp_path: Path) -> None:
    before = manifest_of(DataConfig(paths=(hospital,)))
    packed = pack(hospital, tmp_path / "cases.pack")
    assert (packed.cases, packed.problems) == (3, ())
    assert [entry.name for entry in read_pack(tmp_path / "cases.pack")] == list(before)
    assert manifest_of(DataConfig(paths=(tmp_path / "cases.pack",))) == before
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[3:9, 3:9, 3:9] = 1
    write(hospital / "labelsTr" / "p0.nii.gz", labels)
    after = manifest_of(DataConfig(paths=(hospital,)))
    assert [name for name in before if before[name] != after[name]] == ["CT_Dataset001-Ball_p0"]


def test_scans_are_scored_like_challenge_cases(hospital: Path) -> None:
    pairs, _ = labelled_in(hospital)
    settings = Settings(clicks=1, loosen=False)
    results = list(evaluate_cases(pairs, Balls(), settings, Record(None, {})))
    assert [type(result) for result in results] == [CaseResult] * 3
    first = results[0]
    assert isinstance(first, CaseResult)
    assert (first.case, first.modality, first.n_labels) == ("CT_Dataset001-Ball_p0", "CT", 1)
    assert first.box_run is not None
    # The labels fill their box, and so does the answer.
    assert first.box_run.scores.dsc == 1
    assert [row.label for row in first.rows] == [1]
    loosened = list(evaluate_cases(pairs, Balls(), replace(settings, loosen=True), Record(None, {})))
    assert isinstance(loosened[0], CaseResult)


def test_the_record_of_scores_knows_both_files(hospital: Path) -> None:
    predictor = Predictor(create_model("mobilenet3d", weights=None, seed=0), "cpu")
    pairs, _ = labelled_in(hospital)
    before = identity(predictor, Settings(), pairs)
    write(
        hospital / "labelsTr" / "p0.nii.gz", np.random.default_rng(0).integers(0, 9, (24, 48, 48), np.uint8)
    )
    assert identity(predictor, Settings(), pairs)["cases"] != before["cases"]


@pytest.mark.slow
def test_from_two_folders_to_scores(hospital: Path, tmp_path: Path) -> None:
    images, labels = hospital / "imagesTr", hospital / "labelsTr"
    run, weights = tmp_path / "run", tmp_path / "mine" / "mobilenet3d.safetensors"

    def lexor(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    data = ("--data", images, "--labels", labels, "--modality", "CT")
    options = ("--real", 1, "--steps", 1, "--workers", 0, "--devices", 1, "--batch", 2, "--device", "cpu")
    output = lexor("train", "mobilenet3d", *data, *options, "--out", run)
    assert f"{run}: step 1, 2 samples" in output
    assert "imagesTr" in (run / "config.yaml").read_text("utf-8")
    lexor("export", run, weights, "--licence", "CC0-1.0")
    card = json.loads(weights.with_suffix(".json").read_text("utf-8"))
    assert card["data"]["real"][0] | {"licence": ""} == {
        "source": "CT_Dataset001-Ball",
        "licence": "",
        "volumes": 3,
    }
    assert "imagesTr" not in json.dumps(card)
    scored = lexor("evaluate", hospital, "--clicks", 0, "--weights", weights, "--device", "cpu")
    assert "CT_Dataset001-Ball_p2: 1 label, DSC 0." in scored
    apart = ("--labels", labels, "--modality", "CT", "--weights", weights, "--device", "cpu")
    assert "_p2: 1 label, DSC 0." in lexor("evaluate", images, "--clicks", 0, *apart)
