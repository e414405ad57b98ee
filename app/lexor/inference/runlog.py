"""The log of a run: with what it was made, and what became of each case; a later run goes on from it.

`lexor-run.jsonl` among the answers has a line {"run": {...}} for each run and a line {"case": {...}} for each case,
appended once the answer is in its place. Paths are relative to the log's folder. `run.json` holds the same of one
run: the run's keys, and "cases". Nothing of either is trusted when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lexor.errors import CaseError, printable, shown
from lexor.inference.targets import Target
from lexor.io.whole import write_text
from lexor.models.weights import file_hash

LOG: Final = "lexor-run.jsonl"
# A run of ten thousand cases of ten boxes has some 30 MB.
MAX_BYTES: Final = 256 << 20
# Files that a header of theirs refers to: part of what is read, under another suffix.
_COMPANIONS: Final = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz"), ".hdr": (".img",)}
# What of a run can change an answer beside Lexor itself: named as people install it.
_PACKAGES: Final = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "pydicom", "highdicom")


@dataclass(frozen=True)
class CaseRecord:
    """What became of a case.

    Attributes:
        case: its name.
        source, output: the file or folder it was read from, and its answer's file.
        answered: whether there is an answer; else `error` says why not.
        error: one line, None where there is an answer.
        warnings: one line each.
        seconds: that it took.
        shape: (D, H, W) of the volume; () if it was not read.
        prompts: for each class what it was segmented from, as JSON: "label", "from" (box, clicks, previous,
            automatic), and where there is one "box" (as the challenge's), "clicks" ({"fg", "bg"}), "kind" and
            "confidence" of an automatic box.
        input, answer: sha256 of the source and of the answer; empty where there is none.
        key: sha256 of what the answer depends on beside the source: see `key_of`.
        names: of classes, where they have any.
    """

    case: str
    source: Path
    output: Path
    answered: bool
    error: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    shape: tuple[int, ...] = ()
    prompts: tuple[dict[str, Any], ...] = ()
    input: str = ""
    answer: str = ""
    key: str = ""
    names: tuple[tuple[int, str], ...] = ()

    def to_dict(self, folder: Path) -> dict[str, Any]:
        """As JSON, for a file in a folder."""
        value = asdict(self)
        value["source"], value["output"] = _relative(self.source, folder), _relative(self.output, folder)
        return value

    @classmethod
    def from_dict(cls, value: Any, folder: Path) -> CaseRecord:
        """The inverse of `to_dict`.

        Raises:
            ValueError: it is no record.
        """
        kinds = {"case": str, "source": str, "output": str, "answered": bool, "warnings": list, "shape": list}
        kinds |= {"prompts": list, "input": str, "answer": str, "key": str, "names": list}
        if not isinstance(value, dict) or any(not isinstance(value.get(k), kinds[k]) for k in kinds):
            raise ValueError("a key is missing or of another kind")
        seconds, error = value.get("seconds"), value.get("error")
        if not isinstance(seconds, int | float) or not isinstance(error, str | None):
            raise ValueError("seconds or error is of another kind")
        if not all(isinstance(n, int) for n in value["shape"]) or len(value["shape"]) not in (0, 3):
            raise ValueError("shape is no shape")
        if not all(isinstance(prompt, dict) for prompt in value["prompts"]):
            raise ValueError("prompts are no objects")
        return cls(
            case=value["case"],
            source=_absolute(value["source"], folder),
            output=_absolute(value["output"], folder),
            answered=value["answered"],
            error=error,
            warnings=tuple(str(line) for line in value["warnings"]),
            seconds=float(seconds),
            shape=tuple(value["shape"]),
            prompts=tuple(value["prompts"]),
            input=value["input"],
            answer=value["answer"],
            key=value["key"],
            names=tuple((int(label), str(name)) for label, name in value["names"]),
        )


@dataclass(frozen=True)
class Run:
    """A run: its head (see `head_of`), and its cases, each once, in order."""

    head: dict[str, Any]
    cases: tuple[CaseRecord, ...]

    def to_dict(self, folder: Path) -> dict[str, Any]:
        """As `run.json` in a folder holds it."""
        return {**self.head, "cases": [record.to_dict(folder) for record in self.cases]}


class RunLog:
    """The log in a folder of answers, which is added to.

    Args:
        folder: must exist.
        head: of the run that begins; see `head_of`.

    Raises:
        CaseError: what is at the log's place is no such log.
        OSError: it cannot be read or written.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self.path = folder / LOG
        self.head = dict(head)
        self._finished: dict[Path, CaseRecord] = {}
        if os.path.lexists(self.path):
            self._finished = {record.output: record for record in read_run(self.path).cases}
        self._append({"run": self.head})

    def finished(self, source: Path, output: Path, digest: str) -> CaseRecord | None:
        """The record of an answer that is still there as it was written, and was made from the same input with the
        same options and weights; None if there is none."""
        record = self._finished.get(_absolute(str(output), Path()))
        if record is None or not record.answered or not record.answer:
            return None
        if (record.input, record.key) != (digest, self.head["key"]):
            return None
        if not output.is_file() or hash_of(output) != record.answer:
            return None
        return replace(record, source=source, output=output)

    def add(self, record: CaseRecord) -> None:
        """Notes a case; it is on disk when this returns."""
        self._append({"case": record.to_dict(self.path.parent)})

    def _append(self, value: Mapping[str, Any]) -> None:
        with self.path.open("a+b") as file:
            # After a line that a killed run had half written.
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(value).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def head_of(
    model: str, weights: Mapping[str, Any], device: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a run is made with: Lexor's and its libraries' versions, model, weights, device, options, time, key.

    Args:
        weights: "file", "sha256" and "certainty".
        options: those that change an answer, as JSON values.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import lexor

    versions = {"lexor": lexor.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "model": model,
        "weights": dict(weights),
        "device": device,
        "options": dict(options),
        "key": key_of(versions["lexor"], model, weights, options),
    }


def key_of(version: str, model: str, weights: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """sha256 of what an answer depends on beside its source. Where the weights lie does not matter."""
    parts = [version, model, weights["sha256"], weights.get("certainty"), dict(options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_run(path: Path) -> Run:
    """A run from its `run.json`, its log, or the folder that holds the log.

    Of several records of one answer the last counts; a line that was not written to its end does not.

    Raises:
        CaseError: it is none, or larger than `MAX_BYTES`.
        OSError: it cannot be read.
    """
    if path.is_dir():
        if not (path / LOG).is_file():
            raise CaseError(f"{path}: there is no {LOG}; give a folder of answers, or a run.json")
        path = path / LOG
    if not path.is_file():
        raise CaseError(f"{path}: no such file; give a folder of answers, or a run.json")
    if path.stat().st_size > MAX_BYTES:
        raise CaseError(f"{path}: larger than {MAX_BYTES >> 20} MB, so it is no log of a run; move it away")
    data = path.read_bytes()
    folder = path.parent
    try:
        found = list(_lines(data)) if path.suffix == ".jsonl" else _whole(data)
        heads = [value["run"] for value in found if "run" in value]
        if not heads or not all(isinstance(head, dict) for head in heads):
            raise ValueError("it tells of no run")
        records = [CaseRecord.from_dict(value["case"], folder) for value in found if "case" in value]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise CaseError(f"{path}: is no log of a run ({printable(str(problem))}); move it away") from None
    latest = {record.output: record for record in records}
    return Run(heads[-1], tuple(latest.values()))


def write_run(path: Path, run: Run) -> None:
    """Writes `run.json`; it appears complete or not at all."""
    write_text(path, json.dumps(run.to_dict(path.parent), indent=1) + "\n")


def hash_of(path: Path) -> str:
    """sha256 of what is read as a case: a file's bytes, with those of the file that its header refers to; of a folder
    all names and bytes in it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path)}\n{file_hash(file)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    companions = [path.with_suffix(suffix) for suffix in _COMPANIONS.get(path.suffix.lower(), ())]
    if not any(companion.is_file() for companion in companions):
        return file_hash(path)
    for file in (path, *companions):
        if file.is_file():
            digest.update(file_hash(file).encode())
    return digest.hexdigest()


def prompt_of(target: Target) -> dict[str, Any]:
    """What a class was segmented from, as `CaseRecord.prompts` has it."""
    prompt: dict[str, Any] = {"label": target.index, "from": "stand-in" if target.stand_in else target.source}
    if target.box is not None:
        prompt["box"] = target.box.to_dict()
    if target.clicks.points:
        pairs = list(zip(target.clicks.points, target.clicks.foreground, strict=True))
        prompt["clicks"] = {
            kind: [[int(c) for c in point] for point, foreground in pairs if foreground is wanted]
            for kind, wanted in (("fg", True), ("bg", False))
        }
    if target.found is not None:
        prompt["kind"], prompt["confidence"] = target.found.kind, target.found.confidence
    return prompt


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a log; what a killed run had half written is passed over, also where a later one went on."""
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            value = json.loads(line)
        except ValueError:
            if number == 1:
                raise ValueError("line 1 is no JSON") from None
            continue
        if not isinstance(value, dict) or not value.keys() & {"run", "case"}:
            raise ValueError(f"line {number} is {shown(value)}")
        yield value


def _whole(data: bytes) -> list[dict[str, Any]]:
    """A `run.json` as the lines that a log would have of it."""
    value = json.loads(data)
    if not isinstance(value, dict) or not isinstance(value.get("cases"), list):
        raise ValueError("it has no list of cases")
    cases = value.pop("cases")
    return [{"run": value}, *({"case": case} for case in cases)]


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute())


def _absolute(path: str, folder: Path) -> Path:
    # Not resolved: a link stays a link.
    return Path(os.path.normpath(folder.absolute() / path))
