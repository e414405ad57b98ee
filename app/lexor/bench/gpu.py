"""`lexor bench gpu`: all that is to be known of a GPU in one go, within eight minutes, without a network."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lexor
from lexor.bench import phantoms
from lexor.bench.cases import Sizes
from lexor.bench.report import write_report
from lexor.cores import usable_cores
from lexor.geometry import Shape

# Packages whose versions the figures depend on.
PACKAGES = ("numpy", "scipy", "cupy-cuda13x", "cucim-cu13", "connected-components-3d")
# Seconds that the textbook may take, and the tests.
EXACT_SECONDS = 60.0
TEST_SECONDS = 100.0
MARK = "pytest.mark.gpu"
WANTED = "gpu and not container"
# Train by this recipe, on scenes alone; so few at the start that a minute is one of training.
RECIPE = "mobilenet3d"
SCENES = {"mix.real": 0.0, "mix.varied": 0.0, "mix.scenes": 40, "mix.initial": 8}


@dataclass(frozen=True)
class Check:
    """What is checked.

    Attributes:
        device: "cuda", or "cpu" to rehearse.
        model: whose predictions are timed.
        cases: folders of challenge cases, whose prompts are compared; those of the demo always are.
        tests: the project's folder of tests; None: they are not run.
        shapes: of the volumes whose prompts are timed.
        sizes: of the cases.
        kinds: of the cases; all, if none.
        repeats: how often each is run.
        minutes: of training; 0: none.
        isolated: a process of its own for each kind of case, whose peak memory can be told.
    """

    device: str = "cuda"
    model: str = "mobilenet3d"
    cases: Sequence[Path] = ()
    tests: Path | None = None
    shapes: Sequence[Shape] = phantoms.SHAPES
    sizes: Sizes = field(default_factory=Sizes)
    kinds: Sequence[str] = ()
    repeats: int = 2
    minutes: float = 1.0
    isolated: bool = True


def rehearsal(check: Check) -> Check:
    """The same in a shorter form, for a machine without a GPU."""
    return Check(
        device=check.device,
        model=check.model,
        cases=check.cases,
        tests=check.tests,
        shapes=((16, 64, 64),),
        sizes=Sizes((16, 64, 64), (24, 96, 96), 3, 5, 2),
        kinds=check.kinds or ("classes", "folder"),
        repeats=1,
        minutes=min(check.minutes, 0.05),
    )


def gpu_check(check: Check, out: Path, tell: Callable[[str], object] = lambda line: None) -> dict[str, Any]:
    """Takes one step after the other and writes the figures of all to a JSON file after each.

    A step that fails says why, and the others go on.

    Args:
        check: what is checked.
        out: the JSON file; `lexor bench report` prints it.
        tell: hears of each step's end.

    Returns:
        What is in the file; `ok` says whether no step failed.
    """
    steps: dict[str, Callable[[Check], dict[str, Any]]] = {
        "exact": _exact,
        "prompts": _prompts,
        "cases": _cases,
        "training": _training,
        "tests": _tests,
    }
    began = time.perf_counter()
    found: dict[str, Any] = {
        "bench": "gpu",
        "lexor": lexor.__version__,
        "device": check.device,
        "machine": machine(check.device),
        "steps": {},
    }
    for name, step in steps.items():
        started = time.perf_counter()
        try:
            figures = step(check)
        except Exception as problem:  # one step must not cost the figures of the others
            figures = {"error": f"{type(problem).__name__}: {str(problem).strip()[:500]}"}
        found["steps"][name] = figures | {"seconds": time.perf_counter() - started}
        found["ok"] = not any(step.get("error") for step in found["steps"].values())
        found["seconds"] = time.perf_counter() - began
        write_report(out, found)
        tell(f"{name}: {figures.get('error') or 'ok'}, {found['seconds']:.0f} s so far")
    return found


def machine(device: str) -> dict[str, Any]:
    """What the figures were taken on."""
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": usable_cores(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    if device == "cuda" and torch.cuda.is_available():
        from lexor.prompting.backends.cuda import why_unusable

        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "gpu GB": round(properties.total_memory / 1e9, 1)}
        found["prompts on the gpu"] = why_unusable() or "work"
    return found


def _exact(check: Check) -> dict[str, Any]:
    from lexor.bench.prompt_check import same_boxes
    from lexor.viewing.demo import CASES

    files = [file for folder in (CASES, *check.cases) for file in sorted(folder.rglob("*.npz"))]
    found = same_boxes(files, check.device, EXACT_SECONDS)
    if found["different"]:
        found["error"] = f"{len(found['different'])} boxes are not the textbook's"
    return found


def _prompts(check: Check) -> dict[str, Any]:
    from lexor.bench.prompt_check import prompt_costs

    return prompt_costs(check.shapes, check.device, check.repeats)


def _cases(check: Check) -> dict[str, Any]:
    from dataclasses import asdict

    from lexor.bench.predict import Settings, bench_predict

    settings = Settings(check.model, check.device, check.repeats, check.sizes, check.isolated)
    rows = list(bench_predict(check.kinds, settings))
    return {
        "rows": [asdict(row) for row in rows],
        "cases a second": {row.kind: row.cases / row.seconds for row in rows if row.cases > 1},
    }


def _training(check: Check) -> dict[str, Any]:
    from lexor.training.config import load_config
    from lexor.training.loop import train

    if not check.minutes:
        return {"samples": 0}
    config = load_config(RECIPE, SCENES | {"devices": 1, "budget.minutes": check.minutes})
    with tempfile.TemporaryDirectory(prefix="lexor-train-") as folder:
        state = train(config, Path(folder) / "run", device=check.device)
    found = {"samples": state.samples, "steps": state.step, "training seconds": state.seconds}
    return found | {"samples a second": state.samples / state.seconds, "batch": config.batch}


def _tests(check: Check) -> dict[str, Any]:
    if check.tests is None:
        return {"run": "no: give --tests"}
    folder = check.tests.resolve()
    # Only the files that have such tests: others want packages that a machine without a network may lack.
    files = [str(file) for file in sorted(folder.rglob("test_*.py")) if MARK in file.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-m", WANTED, *files]
    done = subprocess.run(
        command,
        cwd=folder.parent,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
        capture_output=True,
        text=True,
        timeout=TEST_SECONDS,
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["pytest printed nothing"]
    counts = {
        kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", lines[-1])
    }
    found: dict[str, Any] = {"status": done.returncode, **counts}
    skips = [line for line in lines if line.startswith("SKIPPED")]
    if skips:
        found["skips"] = skips
    if done.returncode or (check.device == "cuda" and not counts.get("passed")):
        found |= {"error": lines[-1], "output": lines[-40:]}
    return found
