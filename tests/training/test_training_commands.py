import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from lexor.cli import app

runner = CliRunner()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, lexor.cli; "
        "print(sorted({'torch', 'pydantic', 'monai', 'lightning_fabric', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_train_goes_on_and_packs(tmp_path: Path, data: Path) -> None:
    packed = runner.invoke(app, ["pack", str(data), str(tmp_path / "cases.pack")])
    assert packed.exit_code == 0, packed.output
    assert "7 cases, " in packed.output
    (tmp_path / "tiny.yaml").write_text(
        "model: {window: [8, 16, 16]}\nprecision: 32-true\nbatch: 2\nlog_every: 1\n"
        "mix: {real: 1}\nbudget: {steps: 1}\n"
    )
    command = ["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--data", str(tmp_path / "cases.pack"), "--leave-out", "CT_alpha", "--seed", "5"]
    first = runner.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "step 1, 2 samples" in first.output
    refused = runner.invoke(app, command)
    assert refused.exit_code == 2
    assert "error: " in refused.output
    assert "give --resume" in refused.output
    more = runner.invoke(app, [*command, "--resume", "--steps", "2"])
    assert more.exit_code == 0, more.output
    assert "step 2, 4 samples" in more.output
    weights = tmp_path / "weights" / "net.safetensors"
    exported = runner.invoke(
        app, ["export", str(tmp_path / "run"), str(weights), "--licence", "MIT", "--shard-mb", "8"]
    )
    assert exported.exit_code == 0, exported.output
    assert "net-00001-of-00003.safetensors: " in exported.output
    command = ["export", str(tmp_path / "run"), str(weights), "--licence", "MIT", "--share", "0.3"]
    refused = runner.invoke(app, command)
    assert refused.exit_code == 2
    assert refused.output == "error: --share: of what? give --mean-with, the other weights of the mean\n"
    joined = runner.invoke(app, ["join", f"{weights}.index.json", str(tmp_path / "net.safetensors")])
    assert joined.exit_code == 0, joined.output
    assert (tmp_path / "net.safetensors").stat().st_size == weights.stat().st_size


def test_no_data_is_an_error_where_some_is_wanted(tmp_path: Path) -> None:
    done = runner.invoke(app, ["train", "mobilenet3d", "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert done.output.startswith(
        "error: data.paths: none, where mix.real is 0.4; give --data FOLDER, or --real 0"
    )
    assert not (tmp_path / "run").exists()
    card = tmp_path / "net.json"
    told = {"config": {"budget": {"steps": 1}}, "steps": 1}
    card.write_text(json.dumps({"data": {"sha256": "other"}, "training": told}))
    done = runner.invoke(app, ["retrain", str(card), "--out", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert done.output == f"error: {card}: was trained on cases; give --data FOLDER, or a packed file\n"
    done = runner.invoke(app, ["retrain", str(tmp_path / "absent.json"), "--out", str(tmp_path / "runs")])
    assert (
        done.output == f"error: {tmp_path / 'absent.json'}: no such file; give the card of trained weights\n"
    )
    done = runner.invoke(app, ["export", str(tmp_path), str(tmp_path / "n.safetensors"), "--licence", "MIT"])
    assert done.output == f"error: {tmp_path}: holds no run; give a folder that `lexor train` left\n"


def test_errors_are_one_line(tmp_path: Path) -> None:
    done = runner.invoke(app, ["train", "smoke", "--fraction", "2", "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert done.output == (
        "error: smoke: data.fraction: 2.0: input should be less than or equal to 1; correct it\n"
    )
