"""`lexor weights`: what there is, whether it is whole, and where it was looked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from lexor.cli import app
from lexor.io.case import Case, write_case
from lexor.models import weights
from lexor.models.factory import create_model
from lexor.models.inventory import list_weights, weights_in
from lexor.models.shards import HEADER_BYTES, split_weights
from lexor.models.weights import save_weights, weight_folders

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of weights, with two files in it."""
    for name in ("a", "b"):
        save_weights(
            nn.Linear(30, 40), tmp_path / f"{name}.safetensors", architecture=name, licence="MIT", card={}
        )
    monkeypatch.setattr("lexor.models.inventory.weight_folders", lambda: [tmp_path, tmp_path / "none"])
    monkeypatch.setattr(weights, "weight_folders", lambda: [tmp_path, tmp_path / "none"])
    return tmp_path


def test_whole_files_pass(folder: Path) -> None:
    result = runner.invoke(app, ["weights", "verify"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"{folder / name}.safetensors: as the manifest says" for name in ("a", "b")
    ]


def test_a_flipped_byte_is_found_and_named_and_the_others_still_checked(folder: Path) -> None:
    path = folder / "a.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = runner.invoke(app, ["weights", "verify", str(folder)])
    assert result.exit_code == 1
    assert f"FAILED: {path}: sha256 " in result.output
    assert f"{folder / 'b.safetensors'}: as the manifest says" in result.output
    assert "1 of 2 files" in result.output


def test_files_that_are_missing_or_not_listed_are_found(folder: Path) -> None:
    (folder / "a.safetensors").rename(folder / "c.safetensors")
    result = runner.invoke(app, ["weights", "verify"])
    assert result.exit_code == 1
    assert f"FAILED: {folder / 'a.safetensors'}: cannot be read (No such file or directory)" in result.output
    assert f"FAILED: {folder / 'c.safetensors'}: not listed in " in result.output
    unused = [found.path.name for found in list_weights() if not found.used]
    assert unused == ["a.safetensors"]


def test_a_single_file_can_be_verified(folder: Path) -> None:
    result = runner.invoke(app, ["weights", "verify", str(folder / "b.safetensors")])
    assert result.exit_code == 0
    assert "a.safetensors" not in result.output


def test_shards_are_verified_as_the_whole_they_make(folder: Path) -> None:
    whole = folder / "a.safetensors"
    split_weights(whole, folder, HEADER_BYTES + 4900)
    whole.unlink()
    assert weights_in() == [whole, folder / "b.safetensors"]
    assert runner.invoke(app, ["weights", "verify"]).exit_code == 0


def test_nothing_to_verify_is_said(tmp_path: Path) -> None:
    result = runner.invoke(app, ["weights", "verify", str(tmp_path)])
    assert result.exit_code == 2
    assert f"no weights to verify in {tmp_path}" in result.output
    result = runner.invoke(app, ["weights", "verify", str(tmp_path / "x.bin")])
    assert result.exit_code == 2
    assert "neither a folder nor a .safetensors file" in result.output


def test_the_list_names_files_models_and_folders(folder: Path) -> None:
    result = runner.invoke(app, ["weights", "list"])
    assert result.exit_code == 0, result.output
    for text in ("a.safetensors", "b.safetensors", "MIT", "looked in "):
        assert text in result.output


def test_import_segvol_refuses_in_one_line(tmp_path: Path) -> None:
    source = tmp_path / "x.pth"
    torch.save({"model": {"module.a": torch.ones(1)}}, source)
    result = runner.invoke(app, ["weights", "import-segvol", str(source), str(tmp_path / "x.safetensors")])
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {source}: the model wants image_encoder.blocks.0.attn.out_proj")


def test_weights_are_looked_for_in_a_wheel_a_checkout_and_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEXOR_WEIGHTS", raising=False)
    package = Path(weights.__file__).resolve().parents[1]
    # A wheel holds them inside the package (pyproject.toml, force-include); a checkout beside app/.
    assert weight_folders() == [
        package / "weights",
        package.parents[1] / "weights",
        Path("/workspace/weights"),
    ]
    installed = tmp_path / "site-packages" / "lexor" / "models" / "weights.py"
    monkeypatch.setattr(weights, "__file__", str(installed))
    assert weight_folders()[0] == tmp_path / "site-packages" / "lexor" / "weights"
    monkeypatch.setenv("LEXOR_WEIGHTS", str(tmp_path))
    assert weight_folders()[0] == tmp_path


@pytest.mark.parametrize("model", ["fastvit", "segvol_vit_b"])
def test_a_model_without_weights_ends_with_2_and_says_where_it_looked(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "weight_folders", lambda: [tmp_path])
    (tmp_path / "case.npz").touch()
    result = runner.invoke(
        app, ["predict", str(tmp_path), str(tmp_path / "out"), "--model", model, "--device", "cpu"]
    )
    assert result.exit_code == 2
    assert result.output == (
        f"error: {model}.safetensors: no weights of model '{model}' in {tmp_path}; give --weights FILE (in "
        "Python weights=FILE, or None for a random initialisation), or set LEXOR_WEIGHTS to their folder\n"
    )


@pytest.mark.parametrize("model", ["mobilenetv3", "fastvit"])
def test_a_model_whose_weights_are_there_predicts(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ball_case: Case
) -> None:
    weights, inputs, outputs = tmp_path / "weights", tmp_path / "in", tmp_path / "out"
    net = create_model(model, weights=None, seed=0)
    save_weights(
        net, weights / f"{model}.safetensors", architecture=model, licence="MIT", dtype=torch.float16
    )
    monkeypatch.setenv("LEXOR_WEIGHTS", str(weights))
    inputs.mkdir()
    write_case(inputs / "CT_ball.npz", ball_case)
    result = runner.invoke(app, ["predict", str(inputs), str(outputs), "--model", model, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    labels = np.load(outputs / "CT_ball.npz")["segs"]
    # Untrained, the light family answers with its prior: the ellipsoid in the box.
    assert labels[12, 22, 25] == 1
    assert labels[0, 0, 0] == 0
