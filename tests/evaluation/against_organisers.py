"""Compares `lexor evaluate` with the organisers' own script, unmodified, on the same answers, without containers.

    python tests/evaluation/against_organisers.py EVALUATOR FOLDER [CASE ...] [--balls] [--drop-boxes]
        [--work agreement]

EVALUATOR, FOLDER, CASE, --drop-boxes: as tests/container/organisers_eval.py has them. The script runs in an
environment of its versions of numpy, scipy, pandas and cc3d, with a torch that sees no GPU, and a `docker` in its
PATH that hands its inputs folder to this process; here they are read and answered as the container does it. Then our
evaluator runs on the same files. Prints the largest difference of every column of the two CSVs and the number of
equal clicks; exits 1 if a difference exceeds 1e-6 or a click differs.

--balls answers with the predictor of golden.py, which has no weights: the golden figures of test_protocol.py are the
CSVs and the printed clicks of such runs.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import threading
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))

from golden import Balls
from organisers_eval import REQUIREMENTS, fetch_scripts, write_cases

from lexor.evaluation.boxes import Answering
from lexor.evaluation.evaluate import Settings, evaluate_cases
from lexor.evaluation.results import CaseResult, Record, write_challenge_csv
from lexor.inference.predictor import Predictor
from lexor.io.case import read_case, write_segmentation

TORCH = """class cuda:
    is_available = staticmethod(lambda: False)
    empty_cache = staticmethod(lambda: None)
"""
# Loading and removing images does nothing; a run is asked for, and waited for, through two pipes.
DOCKER = """#!/bin/sh
case "$*" in "container run"*) echo run > "$LEXOR_PIPES/asked"; read -r said < "$LEXOR_PIPES/done"; echo "$said" ;;
esac
"""


def make_environment(work: Path) -> tuple[Path, Path, Path]:
    """The script's interpreter, a folder of its torch, and a folder of its docker."""
    python = work / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(work / "venv", with_pip=True)
        needed = [name for name in REQUIREMENTS if not name.startswith("torch")]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
    stubs, programs = work / "stubs", work / "bin"
    (stubs / "torch").mkdir(parents=True, exist_ok=True)
    (stubs / "torch" / "__init__.py").write_text(TORCH)
    programs.mkdir(exist_ok=True)
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    return python, stubs, programs


def serve(run: Path, predictor: Answering) -> None:
    """Answers the files in inputs/ each time the stand-in for docker asks."""
    for name in ("asked", "done"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    def answer() -> None:
        while (run / "asked").read_text().strip() == "run":
            said = "answered"
            for source in sorted((run / "inputs").glob("*.npz")):
                case = read_case(source)
                said = "; ".join(case.warnings) or said
                labels = predictor.segment(case).labels
                write_segmentation(run / "outputs" / source.name, labels, case.n_classes)
            (run / "done").write_text(f"{said}\n")

    threading.Thread(target=answer, daemon=True).start()


def run_script(python: Path, stubs: Path, programs: Path, run: Path) -> str:
    """Runs CVPR25_iter_eval.py; what it printed."""
    (run / "dockers").mkdir(exist_ok=True)
    (run / "dockers" / "lexor.tar.gz").touch()
    options = ["-i", "imgs", "-o", "seg", "-d", "dockers", "-val_gts", "gts", "-v"]
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(stubs),
        "LEXOR_PIPES": str(run),
        "PYTHONWARNINGS": "ignore",
    }
    command = [str(python), "CVPR25_iter_eval.py", *options]
    return subprocess.run(
        command, cwd=run, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def clicks_printed(text: str) -> dict[str, list[tuple[int, tuple[int, ...] | None]]]:
    """Label and voxel of every click in the order of their rounds, by case; no voxel where a class was perfect."""
    found: dict[str, list[tuple[int, tuple[int, ...] | None]]] = {}
    pending: list[tuple[int, tuple[int, ...] | None]] = []
    for line in text.splitlines():
        if match := re.search(r"Class (\d+): (?:No error|.* at \((\d+), (\d+), (\d+)\))", line):
            label, *voxel = match.groups()
            pending.append((int(label), tuple(map(int, voxel)) if voxel[0] else None))
        elif match := re.match(r"(\S+)\.npz finished", line):
            found.setdefault(match[1], []).extend(pending)
            pending = []
    return found


def main() -> int:
    """Runs both, and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("evaluator", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--balls", action="store_true")
    parser.add_argument("--drop-boxes", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("agreement"))
    options = parser.parse_args()

    run = options.work.resolve() / "run"
    run.mkdir(parents=True, exist_ok=True)
    names = [case.removesuffix(".npz") for case in options.cases]
    names = names or [path.stem for path in options.folder.glob("*.npz")]
    environment = make_environment(options.work.resolve())
    fetch_scripts(options.evaluator.resolve(), run)
    write_cases(options.folder, names, run, options.drop_boxes)
    predictor: Answering = Balls() if options.balls else Predictor(device="cpu")
    serve(run, predictor)
    printed = clicks_printed(run_script(*environment, run))

    paths = sorted((run / "imgs").glob("*.npz"))
    found = list(
        evaluate_cases(paths, predictor, Settings(loosen=False), Record(None, {}), truths=run / "gts")
    )
    results = [result for result in found if isinstance(result, CaseResult)]
    write_challenge_csv(run / "ours.csv", results, clicks=5)
    theirs, ours = (
        list(csv.DictReader(path.open(newline="")))
        for path in (run / "seg" / "lexor" / "lexor_metrics.csv", run / "ours.csv")
    )
    if [row["CaseName"] for row in theirs] != [row["CaseName"] for row in ours] or len(ours) != len(names):
        raise SystemExit(f"{len(names)} cases, of which they scored {len(theirs)} and we {len(ours)}")
    worst = 0.0
    for column in theirs[0]:
        if column == "CaseName" or "Time" in column:
            continue
        gap = max(abs(float(a[column]) - float(b[column])) for a, b in zip(theirs, ours, strict=True))
        worst = max(worst, gap)
        print(f"{column}: {gap:.1e}")
    total = equal = 0
    for result in results:
        mine = [(label, click and click[0]) for r in result.click_runs for label, click in r.clicks.items()]
        total += len(mine)
        equal += sum(a == b for a, b in zip(mine, printed[result.case], strict=True))
    print(f"{len(ours)} cases, largest difference {worst:.1e}; {equal} of {total} clicks are equal")
    return int(worst > 1e-6 or equal < total)


if __name__ == "__main__":
    sys.exit(main())
