"""The page of a report: one HTML file that needs nothing else, neither network nor JavaScript.

All text goes through `_text`: names are whatever somebody called a file. A content security policy lets no script
run but the one that sorts, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexor.errors import printable
from lexor.inference.runlog import Run
from lexor.io.whole import whole
from lexor.viewing.report_cases import ReportedCase, ReportedClass

_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")
MOST_CLASSES = 100
MOST_REMARKS = 200


def named_runs(runs: Sequence[tuple[Path, Run]]) -> list[tuple[str, Run]]:
    """Runs by names that tell them apart: the folder's, with its parents' where two are alike."""
    places = [(path if path.is_dir() else path.parent).absolute() for path, _ in runs]
    names: list[str] = []
    for place, (path, _) in zip(places, runs, strict=True):
        parts = [*place.parts[1:], *([] if path.is_dir() else [path.name])]
        depth = 1 if path.is_dir() else 2
        names.append("/".join(parts[-depth:]))
    for i, name in enumerate(names):
        if names.count(name) > 1:
            names[i] = f"{name} ({i + 1})"
    return [(name, run) for name, (_, run) in zip(names, runs, strict=True)]


def write_page(
    path: Path, cases: Sequence[ReportedCase], runs: Sequence[tuple[str, Run]], title: str
) -> None:
    """Writes the page; it appears complete or not at all. See `page`."""
    with whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for piece in page(cases, runs, title):
            file.write(piece)


def page(cases: Sequence[ReportedCase], runs: Sequence[tuple[str, Run]], title: str) -> Iterator[str]:
    """The page in pieces, worst case first.

    Args:
        runs: by name; `ReportedCase.run` is one of them.
    """
    script = _SCRIPT.read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="generator" content="Lexor">\n'
        f"<title>{_text(title)}</title>\n<style>\n{_STYLE.read_text('utf-8')}</style>\n</head>\n<body>\n"
    )
    yield f"<header><h1>{_text(title)}</h1>\n{_summary(cases, runs)}</header>\n<main>\n"
    ordered = sorted(cases, key=lambda case: case.badness)
    columns = _columns(ordered, len(runs) > 1)
    heads = "".join(
        f'<th scope="col"{_sorted_by(name, ordered)}{_number(kind)} data-sort="{kind}">{_text(name)}</th>'
        for name, kind in columns
    )
    yield (f'<table id="cases">\n<caption>{_caption(ordered)}</caption>\n<thead><tr>{heads}</tr></thead>\n')
    for case in ordered:
        yield _case(case, [name for name, _ in columns])
    yield f"</table>\n</main>\n{_footer(runs)}<script>{script}</script>\n</body>\n</html>\n"


def _columns(cases: Sequence[ReportedCase], several: bool) -> list[tuple[str, str]]:
    """Names of the columns, and how each is sorted: text, or a number."""
    columns = [("Case", "text")]
    if several:
        columns.append(("Run", "text"))
    if any(case.scores is not None for case in cases):
        columns += [("DSC", "number"), ("NSD", "number")]
    if any(case.confidence is not None for case in cases):
        columns.append(("Sure", "number"))
    return [*columns, ("Volume, ml", "number"), ("Remarks", "number"), ("Seconds", "number")]


def _case(case: ReportedCase, columns: Sequence[str]) -> str:
    """A case: its row, and below it what there is to say of its classes."""
    cells = "".join(_cell(case, column) for column in columns)
    details = _details(case)
    under = f'<tr class="more"><td colspan="{len(columns)}">{details}</td></tr>\n' if details else ""
    kind = ' class="failed"' if case.failed else ""
    return f"<tbody{kind}>\n<tr>{cells}</tr>\n{under}</tbody>\n"


def _cell(case: ReportedCase, column: str) -> str:
    """One cell, with the value that it is sorted by."""
    record = case.record
    label = f' data-label="{_text(column)}"'
    if column == "Case":
        return f'<th scope="row" data-value="{_text(record.case)}">{_head(case)}</th>'
    if column == "Run":
        return f'<td{label} data-value="{_text(case.run)}">{_text(case.run)}</td>'
    value: float | None
    shown: str
    if column in ("DSC", "NSD"):
        scores = case.scores
        value = None if scores is None else (scores.dsc if column == "DSC" else scores.nsd)
        shown = "–" if value is None else _bar(value)
    elif column == "Sure":
        value = case.confidence
        shown = "–" if value is None else f"{value:.0%}"
    elif column == "Volume, ml":
        value = case.volume_ml
        shown = "–" if value is None else _figure(value)
    elif column == "Remarks":
        value = len(case.remarks)
        shown = str(value)
    else:
        value = record.seconds
        shown = f"{value:.1f}"
    return f'<td class="number"{label} data-value="{"" if value is None else f"{value:.9g}"}">{shown}</td>'


def _head(case: ReportedCase) -> str:
    """Name, state and picture."""
    name = _text(case.record.case)
    parts = [f'<span class="name">{name}</span>']
    if case.failed:
        parts.append('<span class="state">✕ no answer</span>')
    if case.picture is not None:
        data = base64.b64encode(case.picture).decode()
        width, height = _size(case.picture)
        parts.append(
            f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" loading="lazy" '
            f'alt="{name}: three planes with the outlines of the answer">'
        )
    return "".join(parts)


def _details(case: ReportedCase) -> str:
    """Error, the remarks that the row counts, and a table of classes."""
    record = case.record
    parts = []
    if record.error:
        parts.append(f'<p class="error">{_text(record.error)}</p>')
    lines = case.remarks
    if lines:
        items = "".join(f"<li>{_text(line)}</li>" for line in lines[:MOST_REMARKS])
        more = len(lines) - MOST_REMARKS
        items += f"<li>and {more} more</li>" if more > 0 else ""
        word = "remark" if len(lines) == 1 else "remarks"
        parts.append(f"<details><summary>{len(lines)} {word}</summary><ul>{items}</ul></details>")
    if case.classes:
        word = "class" if len(case.classes) == 1 else "classes"
        parts.append(f"<details><summary>{len(case.classes)} {word}</summary>{_classes(case)}</details>")
    return "".join(parts)


def _classes(case: ReportedCase) -> str:
    scored = case.scores is not None
    peaked = any(one.statistics.peak is not None for one in case.classes)
    unit = case.classes[0].statistics.unit
    heads = ["Class", "Prompt", *(["DSC", "NSD"] if scored else []), "Volume, ml", f"Mean ± SD, {unit}"]
    heads += [*([f"Peak, {unit}"] if peaked else []), "Extent z × y × x, mm", "Pieces", "Remarks"]
    prompts = {prompt.get("label"): prompt for prompt in case.record.prompts}
    order = sorted(case.classes, key=lambda one: (one.scores.dsc if one.scores else 2, one.statistics.label))
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{_text(head)}">{cell}</td>'
            for head, cell in zip(
                heads, _class_cells(one, prompts.get(one.statistics.label), scored, peaked), strict=True
            )
        )
        + "</tr>\n"
        for one in order[:MOST_CLASSES]
    )
    more = len(order) - MOST_CLASSES
    rest = f"<p>and {more} more; --statistics lists them all</p>" if more > 0 else ""
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in heads)
    return f'<table class="classes"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}'


def _class_cells(one: ReportedClass, prompt: Any, scored: bool, peaked: bool) -> list[str]:
    found = one.statistics
    cells = [_text(found.name), _text(_prompt(prompt))]
    if scored:
        cells += ["–", "–"] if one.scores is None else [_bar(one.scores.dsc), _bar(one.scores.nsd)]
    cells.append("–" if found.volume_ml is None else _figure(found.volume_ml))
    has_mean = found.mean is not None and found.sd is not None
    cells.append(f"{_figure(found.mean or 0)} ± {_figure(found.sd or 0)}" if has_mean else "–")
    if peaked:
        cells.append("–" if found.peak is None else _figure(found.peak))
    cells.append(
        "–" if found.extent_mm is None else " × ".join(_figure(length) for length in found.extent_mm)
    )
    cells.append(str(found.components))
    return [*cells, one.remark or "–"]


def _prompt(prompt: Any) -> str:
    """What a class was segmented from, in a few words."""
    if not isinstance(prompt, dict):
        return "–"
    words = [str(prompt.get("from", ""))[:40]]
    if isinstance(prompt.get("kind"), str):
        words.append(f"({prompt['kind'][:40]})")
    clicks = prompt.get("clicks")
    if isinstance(clicks, dict):
        count = sum(len(points) for points in clicks.values() if isinstance(points, list))
        if count:
            words.append(
                f"+ {count} click{'s' if count > 1 else ''}" if words != ["clicks"] else f"({count})"
            )
    return " ".join(words)


def _summary(cases: Sequence[ReportedCase], runs: Sequence[tuple[str, Run]]) -> str:
    """A line for each run: how many cases, scores, time."""
    items = []
    for name, _ in runs:
        own = [case for case in cases if case.run == name]
        answered = [case for case in own if not case.failed]
        scored = [case.scores for case in own if case.scores is not None]
        parts = [f"<b>{len(answered)} of {len(own)}</b> cases answered"]
        if scored:
            dsc, nsd = (float(np.mean([getattr(s, key) for s in scored])) for key in ("dsc", "nsd"))
            parts.append(f"DSC <b>{dsc:.3f}</b>, NSD <b>{nsd:.3f}</b> (means over {len(scored)} with truth)")
        parts.append(f"in {_duration(sum(case.record.seconds for case in own))}")
        lead = f"<b>{_text(name)}</b>: " if len(runs) > 1 else ""
        items.append(f"<p>{lead}{', '.join(parts)}</p>")
    return "\n".join(items)


def _footer(runs: Sequence[tuple[str, Run]]) -> str:
    """With what each run was made."""
    parts = []
    for name, run in runs:
        head = run.head
        weights = head.get("weights")
        weights = weights if isinstance(weights, dict) else {}
        versions = head.get("versions")
        facts = {
            "begun": head.get("started"),
            "model": head.get("model"),
            "weights": weights.get("file"),
            "sha256 of the weights": weights.get("sha256"),
            "device": head.get("device"),
            "options": _pairs(head.get("options")),
            "versions": _pairs(versions),
        }
        rows = "".join(
            f"<dt>{key}</dt><dd>{_text(value)}</dd>"
            for key, value in facts.items()
            if value not in (None, "")
        )
        title = f"How {_text(name)} was made" if len(runs) > 1 else "How this was made"
        parts.append(f"<details><summary>{title}</summary><dl>{rows}</dl></details>")
    return (
        f"<footer>\n{''.join(parts)}\n<p>DSC: overlap with the truth, 0 to 1. NSD: share of both surfaces within "
        "2 mm of the other. Coloured lines: the answer, its boxes and clicks. White lines: the truth. "
        "Made by Lexor, which is no medical device.</p>\n</footer>\n"
    )


def _caption(cases: Sequence[ReportedCase]) -> str:
    rule = "lowest DSC first" if any(case.scores for case in cases) else "least sure first"
    return f"{len(cases)} case{'s' if len(cases) != 1 else ''}, worst first: without an answer, then {rule}"


def _sorted_by(column: str, cases: Sequence[ReportedCase]) -> str:
    """Marks the column that the page is sorted by to begin with."""
    return ' aria-sort="ascending"' if column == "DSC" and any(case.scores for case in cases) else ""


def _number(kind: str) -> str:
    return ' class="number"' if kind == "number" else ""


def _bar(value: float) -> str:
    """A score as a number and as a bar."""
    share = min(max(value, 0.0), 1.0)
    return f'<span class="score">{value:.3f}<span class="bar" style="--share:{share:.3f}"></span></span>'


def _figure(value: float) -> str:
    """A measure with three digits that count."""
    if value == 0 or 0.001 <= abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1e}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _pairs(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else ""


def _size(jpeg: bytes) -> tuple[int, int]:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(jpeg)).size


def _text(value: object) -> str:
    """Anything as text of a page: no control characters, no mark-up, no lone surrogates."""
    text = printable(str(value))[:1000]
    return html.escape(text.encode("utf-8", "backslashreplace").decode(), quote=True)
