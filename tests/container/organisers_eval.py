"""Runs the challenge organisers' own evaluator, unmodified, over chosen cases with our image.

    python tests/container/organisers_eval.py EVALUATOR FOLDER [CASE ...] [--image lexor:latest] [--work eval]
        [--drop-boxes]

EVALUATOR: a clone (bare or not) of github.com/JunMa11/CVPR-MedSegFMCompetition, or a folder that holds its
CVPR25_iter_eval.py and SurfaceDice.py. FOLDER: labelled challenge cases; CASE: names in it, by default all.
Needs numpy, git, docker, and a Python for which the organisers' versions have wheels (3.11).

The cases' boxes are loosened by the challenge's law, as `lexor evaluate` does; the ground truth is taken out
of the cases and kept apart, as the organisers keep it. Exits 1 if the evaluator warned, failed, or left out a
case.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

SCRIPTS = ("CVPR25_iter_eval.py", "SurfaceDice.py")
# requirements.txt of the organisers' repository; of torch they name no version.
REQUIREMENTS = (
    "numpy==1.26.3",
    "scipy==1.12.0",
    "pandas==2.2.1",
    "connected-components-3d==3.12.4",
    "scikit-image",
    "tqdm",
    "torch==2.13.0",
)
SEED = 7


def fetch_scripts(evaluator: Path, run: Path) -> None:
    """Copies the evaluator's two files, from a folder or out of a repository's newest commit."""
    for name in SCRIPTS:
        if (evaluator / name).is_file():
            shutil.copyfile(evaluator / name, run / name)
        else:
            command = ["git", "-C", str(evaluator), "show", f"HEAD:{name}"]
            (run / name).write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)


def make_environment(folder: Path) -> Path:
    """The organisers' Python environment; its interpreter. Made once."""
    python = folder / "bin" / "python"
    done = folder / "done"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        done.touch()
    return python


def loosen(box: dict[str, int], amount: int, shape: tuple[int, ...]) -> dict[str, int]:
    """A closed challenge box, grown in x and y by `amount` pixels per 256, clipped to (D, H, W)."""
    loose = {key: int(value) for key, value in box.items()}
    for axis, size in (("y", shape[1]), ("x", shape[2])):
        grown = int(amount * size / 256)
        loose[f"z_mid_{axis}_min"] = max(0, loose[f"z_mid_{axis}_min"] - grown)
        loose[f"z_mid_{axis}_max"] = min(size - 1, loose[f"z_mid_{axis}_max"] + grown)
    return loose


def write_cases(folder: Path, names: list[str], run: Path, drop_boxes: bool) -> None:
    """Writes `run`/imgs/NAME.npz and `run`/gts/NAME.npz of the chosen cases.

    The draws go over all files of the folder, so that a case's boxes do not depend on what else was chosen.
    """
    for part in ("imgs", "gts"):
        shutil.rmtree(run / part, ignore_errors=True)
        (run / part).mkdir()
    rng = np.random.default_rng(SEED)
    for path in sorted(folder.glob("*.npz")):
        # Cases of our own making, with boxes as pickled dicts.
        with np.load(path, allow_pickle=True) as file:
            boxes = [loosen(box, int(rng.integers(0, 6)), file["imgs"].shape) for box in file["boxes"]]
            if path.stem not in names:
                continue
            arrays = {"imgs": file["imgs"], "spacing": file["spacing"]}
            if not drop_boxes:
                arrays["boxes"] = np.array(boxes)
            np.savez_compressed(run / "imgs" / path.name, **arrays)
            np.savez_compressed(run / "gts" / path.name, gts=file["gts"])


def save_image(image: str, run: Path) -> None:
    """Saves the image as dockers/lexor.tar.gz, under the name that the evaluator derives from the file's."""
    shutil.rmtree(run / "dockers", ignore_errors=True)
    (run / "dockers").mkdir()
    if image != "lexor:latest":
        subprocess.run(["docker", "tag", image, "lexor:latest"], check=True)
    with (
        subprocess.Popen(["docker", "save", "lexor:latest"], stdout=subprocess.PIPE) as save,
        gzip.open(run / "dockers" / "lexor.tar.gz", "wb", compresslevel=1) as file,
    ):
        assert save.stdout is not None
        shutil.copyfileobj(save.stdout, file, 1 << 20)
    if save.returncode:
        raise SystemExit(f"docker save ended with {save.returncode}")


def evaluate(python: Path, run: Path) -> list[str]:
    """Runs the evaluator, passing its output on; the lines of it that complain."""
    command = [
        str(python),
        "CVPR25_iter_eval.py",
        "-i",
        "imgs",
        "-o",
        "seg",
        "-d",
        "dockers",
        "-val_gts",
        "gts",
    ]
    complaints = []
    with subprocess.Popen(
        command,
        cwd=run,
        env={**os.environ, "PWD": str(run), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if any(word in line.lower() for word in ("warning", "error", "could not", "traceback")):
                complaints.append(line.rstrip())
    if process.returncode:
        complaints.append(f"the evaluator exited with {process.returncode}")
    return complaints


def main() -> int:
    """Prepares, runs, and prints the metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("evaluator", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--image", default="lexor:latest")
    parser.add_argument(
        "--work", type=Path, default=Path("eval"), help="the venv, inputs and results go here"
    )
    parser.add_argument(
        "--drop-boxes", action="store_true", help="as in the organisers' files without `boxes`"
    )
    options = parser.parse_args()

    names = [case.removesuffix(".npz") for case in options.cases]
    names = names or [path.stem for path in options.folder.glob("*.npz")]
    missing = [name for name in names if not (options.folder / f"{name}.npz").is_file()]
    if missing:
        parser.error(f"not in {options.folder}: {', '.join(missing)}")
    work = options.work.resolve()
    # It mounts $PWD/inputs unquoted.
    if any(character in str(work) for character in " :"):
        parser.error(f"--work {work}: no blanks or colons in the path")

    run = work / "run"
    run.mkdir(parents=True, exist_ok=True)
    python = make_environment(work / "venv")
    fetch_scripts(options.evaluator.resolve(), run)
    write_cases(options.folder, names, run, options.drop_boxes)
    save_image(options.image, run)
    # The evaluator removes lexor:latest when it is done; a second tag keeps the image.
    subprocess.run(["docker", "tag", "lexor:latest", "lexor:evaluated"], check=True)
    try:
        complaints = evaluate(python, run)
    finally:
        subprocess.run(["docker", "tag", "lexor:evaluated", "lexor:latest"], check=True)
        subprocess.run(["docker", "rmi", "lexor:evaluated"], check=True, stdout=subprocess.DEVNULL)

    table = run / "seg" / "lexor" / "lexor_metrics.csv"
    if not table.is_file():
        complaints.append(f"no {table}")
        text, rows = "", []
    else:
        text = table.read_text()
        rows = list(csv.DictReader(text.splitlines()))
    print(f"\n{text}")
    seconds = [float(row[f"RunningTime_{i}"]) for row in rows for i in range(1, 7)]
    ran = [value for value in seconds if value]
    if ran:
        print(f"{len(ran)} runs, {statistics.mean(ran):.2f} s each on average, {max(ran):.2f} s at most")
    print(f"{len(rows)} of {len(names)} cases in {table}")
    for complaint in complaints:
        print(f"complaint: {complaint}")
    return int(bool(complaints) or len(rows) != len(names))


if __name__ == "__main__":
    sys.exit(main())
