"""`lexor bench report`: what a bench left as JSON, as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lexor.errors import CaseError

MAX_BYTES = 16 << 20
# Stages in the order of `lexor.bench.stages`; those that no row has are left out.
_PREDICT = ("read", "prepare", "prompt", "network", "resample", "merge", "write", "other")


def read_report(path: Path) -> dict[str, Any]:
    """The figures of a bench.

    Raises:
        CaseError: it is no such file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CaseError(
                f"{path}: more than the {MAX_BYTES:,} bytes of any report; give a bench's JSON file"
            )
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise CaseError(f"{path}: cannot be read ({problem}); give a bench's JSON file") from None
    if not isinstance(found, dict) or found.get("bench") not in _TEXTS:
        raise CaseError(f"{path}: key bench names none of {', '.join(_TEXTS)}; give a bench's JSON file")
    return found


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Writes figures as JSON, complete or not at all."""
    part = path.with_name(f".{path.name}.partial")
    part.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    part.replace(path)


def describe(report: Mapping[str, Any]) -> str:
    """The figures as text.

    Raises:
        CaseError: some are missing, or are no figures.
    """
    try:
        return "\n".join(_TEXTS[report["bench"]](report))
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise CaseError(
            f"a bench's figures are not as this version writes them ({reason}); run it again"
        ) from None


def predict_header(report: Mapping[str, Any]) -> str:
    """What all rows of a bench of predictions have in common."""
    return (
        f"{report['model']} on {report['device']}, {report['threads']} threads, torch {report['torch']}; seconds, "
        f"the fastest of {report['repeats']}"
    )


def predict_row(row: Mapping[str, Any]) -> str:
    """A kind's figures in two lines: what they are of, and its time by stage."""
    shape = "x".join(str(n) for n in row["shape"])
    cases = "" if row["cases"] == 1 else f"{row['cases']} cases of "
    ratio = (
        "baseline"
        if row["ratio"] is None
        else (f"{row['ratio']:.2f} times {row['baseline']} ({row['processor_ratio']:.2f} by processor time)")
    )
    memory = [
        f"{row[key] / 1e9:.2f} GB{where}"
        for key, where in (("peak", ""), ("gpu_peak", " of the GPU"))
        if row[key]
    ]
    stages = [
        f"{name} {row['stages'][name]:.3f}" for name in _PREDICT if row["stages"].get(name, 0) >= 0.0005
    ]
    return (
        f"{row['kind']:9} {row['about']}: {cases}{shape}, {row['classes']} classes\n"
        f"  {row['seconds']:9.3f} {ratio}; {row['processor']:.3f} of all cores, "
        f"the first {row['first']:.3f}, start {row['start']:.3f}"
        + "".join(f"; {part}" for part in memory)
        + ("\n            " + ", ".join(stages) if stages else "")
    )


def _predict(report: Mapping[str, Any]) -> Iterator[str]:
    yield predict_header(report)
    yield from map(predict_row, report["rows"])


def _gpu(report: Mapping[str, Any]) -> Iterator[str]:
    machine = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    yield f"lexor {report['lexor']} on {report['device']}: {machine}"
    for name, step in report["steps"].items():
        verdict = f"FAILED: {step['error']}" if step.get("error") else "ok"
        yield f"{name} ({step['seconds']:.1f} s): {verdict}"
        if name == "cases" and "rows" in step:
            for row in step["rows"]:
                yield from ("  " + line for line in predict_row(row).splitlines())
        else:
            yield from _plain({k: v for k, v in step.items() if k not in ("seconds", "error")}, "  ")
    yield f"{report['seconds']:.0f} s in all; {'all is well' if report['ok'] else 'NOT all is well'}"


def _plain(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Nested figures, one key a line."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield f"{indent}{key}:"
            yield from _plain(inner, indent + "  ")
        else:
            yield f"{indent}{key}: {_figure(inner)}"


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_figure, value)) or "none"
    return str(value)


_TEXTS = {"predict": _predict, "gpu": _gpu}
