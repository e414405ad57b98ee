"""The container, run as the organisers run it and under the constraints it promises to bear."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docker.types import Mount
from harness import (
    CENTRES,
    ORGANISERS,
    SHAPE,
    Lexor,
    balls,
    read_segmentation,
    write_balls,
)

from lexor.evaluation.baselines import filled_box
from lexor.evaluation.metrics import dice
from lexor.io.case import read_case
from lexor.io.scan import Scan, read_scan
from lexor.io.scans.label_maps import write_volume

pytestmark = pytest.mark.container


def _assert_segments_the_balls(path: Path) -> None:
    answer = read_segmentation(path)
    assert answer.shape == SHAPE
    assert answer.dtype == np.uint8
    for value in (1, 2):
        assert dice(balls() == value, answer == value) > 0.6


def test_answers_given_boxes(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "CT_balls.npz")
    run = lexor.run(inputs, outputs, command=ORGANISERS)
    assert run.status == 0, run.err
    _assert_segments_the_balls(outputs / "CT_balls.npz")
    # Nothing temporary stays, and an evaluator that is not root can read what root wrote.
    assert [path.name for path in outputs.iterdir()] == ["CT_balls.npz"]
    assert stat.S_IMODE((outputs / "CT_balls.npz").stat().st_mode) & 0o444 == 0o444
    assert "CT_balls.npz" in run.out
    assert "not a mount" not in run.err


# As graders start what they do not trust.
CONFINED: dict[str, Any] = {
    "network_mode": "none",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "user": "12345:12345",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": 256,
    "mem_limit": "8g",
    "memswap_limit": "8g",
    "init": True,
}


def test_answers_without_network_root_or_a_writable_root(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "CT_balls.npz")
    run = lexor.run(
        inputs,
        outputs,
        command=ORGANISERS,
        read_only_inputs=True,
        **CONFINED,
    )
    assert run.status == 0, run.err
    # Notices of cache folders that cannot be made, and the like, would be on stderr.
    assert run.err == ""
    _assert_segments_the_balls(outputs / "CT_balls.npz")


def test_default_command_warns_where_answers_would_be_lost(lexor: Lexor, inputs: Path) -> None:
    write_balls(inputs / "CT_balls.npz")
    run = lexor.run(inputs)
    assert run.status == 0, run.err
    assert "/workspace/outputs is not a mount" in run.err


def test_a_broken_case_does_not_stop_the_others(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "CT_good.npz")
    whole = (inputs / "CT_good.npz").read_bytes()
    (inputs / "CT_a_broken.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(outputs / "CT_a_broken.npz", segs=np.zeros((1, 1, 1), np.uint8))
    run = lexor.run(inputs, outputs, command=ORGANISERS)
    assert run.status == 1
    assert "CT_a_broken.npz" in run.out + run.err
    assert "Traceback" not in run.out + run.err
    assert [path.name for path in outputs.iterdir()] == ["CT_good.npz"]
    _assert_segments_the_balls(outputs / "CT_good.npz")


def test_answers_without_any_prompt(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "US_balls.npz", boxes=False)
    run = lexor.run(inputs, outputs, command=ORGANISERS)
    assert run.status == 0, run.err
    answer = read_segmentation(outputs / "US_balls.npz")
    assert answer.shape == SHAPE
    assert answer.max() == 1


@pytest.mark.parametrize("boxes", [True, False])
def test_clicks_decide_their_voxels(lexor: Lexor, inputs: Path, outputs: Path, boxes: bool) -> None:
    background = (2, 5, 66)
    clicks = [
        {"fg": [list(np.int64(CENTRES[0]))], "bg": [list(np.int64(background))]},
        {"fg": [list(np.int64(CENTRES[1])), [11, 44, 50]], "bg": []},
    ]
    write_balls(
        inputs / "MR_balls.npz",
        boxes=boxes,
        clicks=np.array(clicks),
        # As the evaluator writes it: one row per class, a column per round.
        clicks_order=np.array([["fg", "bg"], ["fg", "fg"]]),
        prev_pred=np.where(balls() == 1, 1, 0).astype(np.uint8),
    )
    run = lexor.run(inputs, outputs, command=ORGANISERS)
    assert run.status == 0, run.err
    answer = read_segmentation(outputs / "MR_balls.npz")
    assert answer.shape == SHAPE
    assert answer[CENTRES[0]] == 1
    assert answer[CENTRES[1]] == 2
    assert answer[11, 44, 50] == 2
    assert answer[background] == 0


def test_script_passes_options_on(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "CT_balls.npz")
    command = ["/bin/bash", "-c", "sh predict.sh --model no-such-model"]
    run = lexor.run(inputs, outputs, command=command)
    assert run.status == 2
    assert "no-such-model" in run.err
    assert list(outputs.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["CT_openkbp_pt_201", "MR_msd_hippocampus_331", "PET_ibsi_STS033", "US_deepreg_prostateTRUS_case000014"],
)
def test_answers_real_cases(lexor: Lexor, inputs: Path, outputs: Path, shared_data: Path, name: str) -> None:
    source = shared_data / "val" / f"{name}.npz"
    target = inputs / source.name
    target.write_bytes(source.read_bytes())
    run = lexor.run(inputs, outputs, command=ORGANISERS)
    assert run.status == 0, run.err
    with np.load(source) as file:
        truth = file["gts"]
    answer = read_segmentation(outputs / source.name)
    assert answer.shape == truth.shape
    case = read_case(source)
    ours = [dice(truth == i, answer == i) for i in range(1, len(case.boxes) + 1)]
    filled = [dice(truth == i, filled_box(truth, box)) for i, box in enumerate(case.boxes, 1)]
    assert np.mean(ours) > np.mean(filled)


@pytest.mark.gpu
def test_answers_on_a_gpu(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    if "nvidia" not in lexor.client.info().get("Runtimes", {}):
        pytest.skip("the engine has no NVIDIA runtime")
    if lexor.image.labels["lexor.cuda"] == "cpu":
        pytest.skip("the image is for the CPU: name one for CUDA in LEXOR_TEST_IMAGE")
    write_balls(inputs / "CT_balls.npz")
    device = {"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}
    command = ["/bin/bash", "-c", "sh predict.sh --device cuda"]
    run = lexor.run(inputs, outputs, command=command, device_requests=[device])
    assert run.status == 0, run.err
    _assert_segments_the_balls(outputs / "CT_balls.npz")


def test_takes_every_model_that_has_weights(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    write_balls(inputs / "CT_balls.npz")
    script = "python -c 'from lexor import list_models; print(*[m.name for m in list_models() if m.bundled])'"
    names = lexor.shell(script).split()
    assert "mobilenet3d" in names
    for name in names:
        run = lexor.run(inputs, outputs, command=["sh", "predict.sh", "--model", name])
        assert run.status == 0, run.err
        _assert_segments_the_balls(outputs / "CT_balls.npz")
    run = lexor.run(inputs, outputs, command=["sh", "predict.sh", "--model", "segvol_vit_b"])
    assert run.status == 2
    assert "no weights of model 'segvol_vit_b'" in run.err


SERVED = """
lexor serve --host 0.0.0.0 --port 8000 --token 'a long secret' --device cpu >/tmp/log &
python - <<'END'
import json, time, urllib.error, urllib.request
def ask(path, token=None, method="GET"):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:8000{path}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, None
for _ in range(240):
    try:
        ask("/healthz")
        break
    except urllib.error.URLError:
        time.sleep(0.5)
print(ask("/healthz")[1], ask("/capabilities")[0], ask("/claim", "a long secret", "POST")[0])
END
kill %1
"""


def test_serves_those_who_know_the_token(lexor: Lexor) -> None:
    run = lexor.run(command=["/bin/bash", "-c", SERVED], **CONFINED)
    assert run.status == 0, run.err
    assert run.out == "{'ok': True} 401 200\n"


def test_answers_a_job_of_grand_challenge(lexor: Lexor, inputs: Path, outputs: Path) -> None:
    affine = np.array([[0, 0, 1, -30], [0, -1, 0, 20], [2, 0, 0, 5], [0, 0, 0, 1]], float)
    scan = Scan("scan", np.where(balls() > 0, 180, 60).astype(np.int16), affine)
    folder = inputs / "images" / "ct"
    folder.mkdir(parents=True)
    write_volume(folder / "scan.mha", scan, "mha")
    socket = {"slug": "ct", "relative_path": "images/ct", "is_image_kind": True}
    (inputs / "inputs.json").write_text(json.dumps([{"file": None, "value": None, "socket": socket}]))
    run = lexor.run(
        command=["lexor", "grand-challenge", "--output-slug", "balls"],
        mounts=[
            Mount("/input", str(inputs), type="bind", read_only=True),
            Mount("/output", str(outputs), type="bind"),
        ],
        **CONFINED,
    )
    assert run.status == 0, run.err
    answer = read_scan(outputs / "images" / "balls" / "output.mha")
    assert answer.voxels.shape == SHAPE
    assert answer.voxels.max() == 1
    np.testing.assert_allclose(answer.affine, affine)
