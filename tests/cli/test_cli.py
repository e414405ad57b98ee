import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.errors import CaseError
from lexor.evaluation.metrics import dice
from lexor.inference.predictor import Predictor
from lexor.io.case import Case, read_case, read_labels, write_case
from lexor.io.reading import Reading
from lexor.models.factory import create_model
from lexor.training.state import save_plain

runner = CliRunner()


@pytest.fixture
def folders(tmp_path: Path, ball_case: Case) -> tuple[Path, Path]:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    write_case(inputs / "CT_ball.npz", ball_case)
    return inputs, outputs


def test_predict_writes_probabilities_if_asked_to(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    command = ["predict", str(inputs / "CT_ball.npz"), str(outputs), "--device", "cpu", "--probabilities"]
    assert runner.invoke(app, command).exit_code == 0
    with np.load(outputs / "CT_ball.npz") as answer:
        assert answer.files == ["segs", "probabilities"]
        np.testing.assert_array_equal(answer["probabilities"][0] >= 0.5, answer["segs"] == 1)


def test_predict_answers_a_folder(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    result = runner.invoke(app, ["predict", str(inputs), str(outputs), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "CT_ball.npz: 24x48x48, prompts: 1 box, 1 class, " in result.output
    labels = np.load(outputs / "CT_ball.npz")["segs"]
    assert labels.shape == (24, 48, 48)
    assert labels.dtype == np.uint8
    assert labels[12, 22, 25] == 1
    assert labels[0, 0, 0] == 0


def test_weights_of_ones_own(folders: tuple[Path, Path], tmp_path: Path) -> None:
    command = ["predict", *map(str, folders), "--device", "cpu", "--weights"]
    other = runner.invoke(app, [*command, str(tmp_path / "absent.safetensors")])
    assert other.exit_code == 2
    assert "absent.safetensors" in other.output
    model = create_model("mobilenet3d", weights=None, seed=0)
    save_plain(model, tmp_path / "mine.safetensors", "mobilenet3d")
    result = runner.invoke(app, [*command, str(tmp_path / "mine.safetensors")])
    assert result.exit_code == 0, result.output
    mine = np.load(folders[1] / "CT_ball.npz")["segs"]
    assert np.array_equal(mine, Predictor(model, "cpu").predict(read_case(folders[0] / "CT_ball.npz")))


def test_a_broken_case_does_not_stop_the_others_and_loses_its_stale_answer(
    folders: tuple[Path, Path],
) -> None:
    inputs, outputs = folders
    (inputs / "AA_broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    outputs.mkdir()
    np.savez(outputs / "AA_broken.npz", segs=np.zeros((1, 1, 1), np.uint8))
    result = runner.invoke(app, ["predict", str(inputs), str(outputs), "--device", "cpu"])
    assert result.exit_code == 1
    assert f"1 of 2 cases answered: {outputs}/" in result.output
    assert "AA_broken.npz: FAILED: " in result.output
    assert sorted(path.name for path in outputs.iterdir()) == ["CT_ball.npz", "lexor-run.jsonl"]


def test_without_prompts_the_case_is_answered_automatically(
    folders: tuple[Path, Path], ball_case: Case
) -> None:
    inputs, outputs = folders
    write_case(inputs / "CT_ball.npz", replace(ball_case, boxes=(), clicks=()))
    result = runner.invoke(app, ["predict", str(inputs / "CT_ball.npz"), str(outputs), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "prompts: 1 automatic (" in result.output
    assert "% sure)" in result.output
    assert np.load(outputs / "CT_ball.npz")["segs"][12, 22, 25] == 1


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    result = runner.invoke(app, ["predict", str(tmp_path / "nowhere"), str(tmp_path)])
    assert result.exit_code == 2
    assert "nowhere" in result.output
    result = runner.invoke(app, ["predict", str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "no .npz file" in result.output
    (tmp_path / "scan.nii.gz").write_bytes(b"\x1f\x8b")
    result = runner.invoke(app, ["evaluate", str(tmp_path / "scan.nii.gz")])
    assert result.exit_code == 2
    assert "only challenge .npz files are read" in result.output
    result = runner.invoke(app, ["predict", str(tmp_path / "scan.nii.gz"), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "scan.nii.gz: FAILED: cannot be read as NIfTI" in result.output
    (tmp_path / "scan.jpg").write_bytes(b"")
    result = runner.invoke(app, ["predict", str(tmp_path / "scan.jpg"), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "scan.jpg: not a format that is read; give NIfTI, NRRD, MHA, TIFF, DICOM or " in result.output


def test_predict_goes_nowhere_that_was_not_named(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, outputs = folders
    monkeypatch.delenv("LEXOR_OUTPUTS", raising=False)
    result = runner.invoke(app, ["predict", str(inputs)])
    assert result.exit_code == 2
    assert "Missing argument" in result.output
    # As the image sets them.
    monkeypatch.setenv("LEXOR_INPUTS", str(inputs))
    monkeypatch.setenv("LEXOR_OUTPUTS", str(outputs))
    result = runner.invoke(app, ["predict", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"1 of 1 case answered: {outputs}/CT_ball.npz"


def test_truths_at_the_answers_places_are_safe(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    outputs.mkdir()
    np.savez(outputs / "CT_ball.npz", gts=np.ones((2, 2, 2), np.uint8))
    result = runner.invoke(app, ["predict", str(inputs), str(outputs), "--device", "cpu"])
    assert result.exit_code == 2
    assert "CT_ball.npz: holds ['gts'], so it is no answer" in result.output
    assert np.load(outputs / "CT_ball.npz").files == ["gts"]


def test_an_option_out_of_its_range_is_named(folders: tuple[Path, Path]) -> None:
    case = str(folders[0] / "CT_ball.npz")
    for arguments, message in (
        (["--method", "intensity", "--sigma", "1e6"], "--sigma is 1000000.0: give a number from 0.001 to 64"),
        (["--method", "intensity", "--radius", "99"], "--radius is 99: give a whole number from 0 to 32"),
        (["--scale", "nan"], "--scale is nan: give a number from 0.001 to 64"),
        (["--tail", "1e300"], "--tail has 1e+300: give numbers between 0 and 1"),
    ):
        result = runner.invoke(app, ["prompt", case, *arguments])
        assert result.exit_code == 2
        assert result.output == f"error: {message}\n"


def test_an_option_that_has_no_such_value_is_answered_in_plain_words() -> None:
    for arguments, message in (
        (
            ["--modality", "XR"],
            "Invalid value for '--modality': 'XR' is not one of CT, MR, PET, US, Microscopy.",
        ),
        (["--modality", "CT_a"], "Invalid value for '--modality': 'CT_a' is not one of CT, MR"),
        (["--device", "tpu"], "Invalid value for '--device': 'tpu' is not one of 'auto', 'cpu', 'cuda'."),
    ):
        result = runner.invoke(app, ["predict", "a", "b", *arguments])
        assert result.exit_code == 2
        assert message in result.output


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("CT", "CT"),
        ("mri", "MR"),
        ("MRI", "MR"),
        ("ultrasound", "US"),
        ("PT", "PET"),
        ("microscopy", "Microscopy"),
    ],
)
def test_a_modality_has_the_names_that_people_give_it(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, given: str, meant: str
) -> None:
    said: list[object] = []

    def read(source: Path, reading: Reading) -> None:
        said.append(reading.modality)
        raise CaseError("enough")

    monkeypatch.setattr("lexor.io.reading.open_source", read)
    result = runner.invoke(app, ["prompt", str(folders[0] / "CT_ball.npz"), "--modality", given])
    assert result.output == "error: enough\n"
    assert said == [meant]


def test_an_unknown_model_is_said(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    result = runner.invoke(app, ["predict", str(inputs), str(outputs), "--model", "resnet"])
    assert result.exit_code == 2
    assert "resnet" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "intensity"])
def test_prompt_prints_the_challenges_boxes(folders: tuple[Path, Path], method: str) -> None:
    inputs, _ = folders
    arguments = ["prompt", str(inputs / "CT_ball.npz"), "--method", method, "--device", "cpu"]
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    (box,) = json.loads(result.output)
    assert set(box) == {
        "z_min", "z_max", "z_mid", "z_mid_x_min", "z_mid_y_min", "z_mid_x_max", "z_mid_y_max",
    }  # fmt: skip
    assert box["z_min"] <= 7
    assert box["z_max"] >= 17
    plain = runner.invoke(app, arguments)
    assert f"z_min={box['z_min']}" in plain.output
    assert ("% sure)" if method == "auto" else "(intensity)") in plain.output


def test_prompt_knows_whose_option_is_whose(folders: tuple[Path, Path]) -> None:
    case = str(folders[0] / "CT_ball.npz")
    for method, option in (("auto", "--sigma"), ("intensity", "--levels"), ("intensity", "--tail")):
        result = runner.invoke(app, ["prompt", case, "--method", method, option, "3"])
        assert result.exit_code == 2
        assert f"error: {option}: --method {method} has no such parameter" in result.output
    few = ["--most", "2", "--tail", "0.1", "--scale", "2", "--contrast", "1", "--central", "0.5"]
    result = runner.invoke(app, ["prompt", case, "--top", "2", *few, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert 1 <= len(result.output.splitlines()) <= 2
    result = runner.invoke(app, ["prompt", case, "--central", "1.5"])
    assert result.exit_code == 2
    assert "central has 1.5: give numbers between 0 and 1" in result.output


def test_models_lists_the_registry() -> None:
    result = runner.invoke(app, ["models"])
    assert result.exit_code == 0
    for name in ("mobilenet3d", "vit_b", "vit_s"):
        assert name in result.output
    first, *_ = result.output.splitlines()
    assert first.startswith("2 of 7 models have weights: mobilenet3d, vit_s.")


@pytest.mark.slow
def test_demo_leaves_masks_and_a_picture(tmp_path: Path) -> None:
    result = runner.invoke(app, ["demo", str(tmp_path), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for name in ("CT_sarcoma", "MR_deep_nuclei", "PET_sarcoma"):
        truth = read_labels(tmp_path / "inputs" / f"{name}.npz")
        given, automatic = (
            read_labels(tmp_path / folder / f"{name}.npz", "segs")
            for folder in ("outputs", "outputs-no-prompt")
        )
        assert dice(given > 0, truth > 0) > 0.7
        assert automatic.shape == truth.shape
        assert automatic.any()
    picture = (tmp_path / "preview.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    assert "preview.png" in result.output.replace("\n", "")


def test_a_name_that_the_terminal_cannot_show(folders: tuple[Path, Path]) -> None:
    inputs, outputs = folders
    name = os.fsdecode(b"CT_\xff.npz")
    (inputs / "CT_ball.npz").rename(inputs / name)
    done = subprocess.run(
        [sys.executable, "-m", "lexor.cli", "predict", inputs, outputs, "--device", "cpu"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        check=True,
    )
    assert "CT_\\udcff.npz: 24x48x48" in done.stdout
    assert (outputs / name).is_file()


def test_being_asked_to_end_it_ends() -> None:
    code = (
        "import os, signal; from lexor.cli import command;"
        "command.app = lambda: os.kill(os.getpid(), signal.SIGTERM); command.main()"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 128 + signal.SIGTERM


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from lexor.cli import app;"
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0 and 'predict' in r.output;"
        "heavy = 'torch matplotlib scipy cupy nibabel SimpleITK pydicom highdicom tifffile rich'.split();"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
