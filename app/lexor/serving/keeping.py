"""What the viewer keeps of unfinished work, so that no crash and no closed window loses it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped, UInt8

from lexor.errors import CaseError, printable
from lexor.geometry import Box, Clicks
from lexor.inference.marks import Mark, Prompts
from lexor.io.npz import NpzReader, write_npz

MOST_OBJECTS: Final = 255  # the browser draws labels of a byte
LONGEST_NAME: Final = 60
_MOST_SAID: Final = 16 << 20  # bytes of what was said, as JSON
_COLOUR: Final = re.compile("#[0-9a-f]{6}")
_PALETTE: Final = (
    *("#f2a541", "#4aa8e8", "#37c58f", "#ec6a82", "#b48cf0", "#e3d84e", "#57d0d9", "#ff8a5c"),
    *("#a2d05a", "#dd8fcb"),
)


@dataclass(frozen=True)
class Look:
    """How an object is called and coloured: a name on one line, a colour as #rrggbb.

    Raises CaseError where they are anything else.
    """

    name: str
    colour: str

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > LONGEST_NAME or not self.name.isprintable():
            raise CaseError(
                f"the name {printable(self.name[:80])!r} is none; give 1 to {LONGEST_NAME} characters"
            )
        if not _COLOUR.fullmatch(self.colour):
            raise CaseError(f"the colour {printable(self.colour[:80])!r} is none; give one like #f2a541")

    @classmethod
    def usual(cls, number: int) -> Look:
        """That of an object about which nobody has said anything else."""
        return cls(f"Object {number}", _PALETTE[(number - 1) % len(_PALETTE)])

    @classmethod
    def named(cls, name: str, colour: str) -> Look:
        """With a name out of a file, whatever that is."""
        return cls(printable(name).strip()[:LONGEST_NAME] or "unnamed", colour)


@dataclass(frozen=True, eq=False)
class Work:
    """Unfinished work on a scan.

    Attributes:
        key: of the scan, see `key_of`.
        began: key of the mask that it began with; "" for none.
        prompts: of objects 1, 2, ...
        looks: of the same.
        current: the object that the next prompt is about.
        labels: (D, H, W).
        saved: whether they are in the output as well.
    """

    key: str
    began: str
    prompts: tuple[Prompts, ...]
    looks: tuple[Look, ...]
    current: int
    labels: UInt8[np.ndarray, "D H W"]
    saved: bool = False


def key_of(*arrays: Shaped[np.ndarray, ...]) -> str:
    """A number of what arrays hold, in hexadecimal digits: the same for the same content."""
    found = hashlib.blake2b(digest_size=20)
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        for part in np.atleast_1d(array):
            found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()


def write_work(path: Path, work: Work) -> None:
    """Writes work; the file appears complete or not at all. Raises OSError where it cannot be written."""
    voxels = [mark.voxels for said in work.prompts for mark in said.marks]
    said = {
        "key": work.key,
        "began": work.began,
        "current": work.current,
        "saved": work.saved,
        "objects": [_as_json(prompts, look) for prompts, look in zip(work.prompts, work.looks, strict=True)],
    }
    arrays: dict[str, np.ndarray] = {
        "said": np.frombuffer(json.dumps(said).encode(), np.uint8),
        "marked": np.concatenate(voxels).astype(np.int32) if voxels else np.zeros((0, 3), np.int32),
        "labels": work.labels,
    }
    write_npz(path, arrays)


def read_work(path: Path, shape: tuple[int, ...]) -> Work:
    """Reads the work on a volume of a shape (D, H, W).

    Raises:
        CaseError: it is damaged, or of another shape.
    """

    def same(found: tuple[int, ...]) -> None:
        if found != shape:
            raise CaseError(f"{path.name}: labels has shape {found}, the scan {shape}; it is another scan's")

    with NpzReader(path) as file:
        labels = file.array("labels", check=same)
        said = file.array("said", _MOST_SAID)
        marked = file.array("marked")
    try:
        if labels.dtype != np.uint8 or said.dtype != np.uint8 or marked.shape[1:] != (3,):
            raise ValueError("its arrays are of other types")
        values: Any = json.loads(said.tobytes())
        objects = values["objects"]
        if not 1 <= len(objects) <= MOST_OBJECTS:
            raise ValueError(f"it has {len(objects)} objects")
        pieces = iter(
            np.split(marked.astype(np.int64), np.cumsum([n for o in objects for n, _ in o["marks"]]))
        )
        prompts = tuple(_prompts(each, pieces) for each in objects)
        for said_of_one in prompts:
            said_of_one.check(shape)
        if (high := int(labels.max(initial=0))) > len(objects):
            raise ValueError(f"it has a label {high}, and {len(objects)} objects")
        return Work(
            key=str(values["key"]),
            began=str(values["began"]),
            prompts=prompts,
            looks=tuple(Look(str(each["name"]), str(each["colour"])) for each in objects),
            current=min(max(int(values["current"]), 1), len(objects)),
            labels=labels,
            saved=values["saved"] is True,
        )
    except Exception as problem:  # JSON that is not ours raises a dozen unrelated types
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise CaseError(f"{path.name}: holds no work of the viewer ({reason}); move it away") from problem


def _as_json(prompts: Prompts, look: Look) -> dict[str, Any]:
    box = prompts.box
    return {
        "name": look.name,
        "colour": look.colour,
        "locked": prompts.locked,
        "box": None if box is None else [*box.lower, *box.upper, box.z_mid],
        "guessed": prompts.guessed,
        "points": [list(point) for point in prompts.clicks.points],
        "foreground": list(prompts.clicks.foreground),
        "marks": [[len(mark.voxels), mark.positive] for mark in prompts.marks],
    }


def _prompts(found: dict[str, Any], pieces: Any) -> Prompts:
    box = None
    if found["box"] is not None:
        z, y, x, z_end, y_end, x_end, z_mid = (int(bound) for bound in found["box"])
        box = Box((z, y, x), (z_end, y_end, x_end), z_mid)
    points = tuple((int(z), int(y), int(x)) for z, y, x in found["points"])
    marks = []
    for length, positive in found["marks"]:
        voxels = next(pieces)
        if len(voxels) != length:
            raise ValueError("marked voxels are missing")
        marks.append(Mark(voxels, bool(positive)))
    clicks = Clicks(points, tuple(bool(each) for each in found["foreground"]))
    return Prompts(box, bool(found["guessed"]), clicks, tuple(marks), bool(found["locked"]))


class Claim:
    """That nobody else works on an output, as long as it is not released.

    Args:
        output: the file that labels are saved in. A hidden file beside it is locked, and goes when it is released.

    Raises:
        BlockingIOError: somebody does.
        OSError: nothing can be written there.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f".{output.name}.lock")
        self._file = self.path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise

    def release(self) -> None:
        """Lets others in."""
        self.path.unlink(missing_ok=True)
        self._file.close()


class Keeper:
    """Writes work to a file soon after there is more of it, in a thread of its own.

    Args:
        path: of the file.
        work: gives the work as it stands.
        pause: seconds in which more may come before it is written.

    Attributes:
        problem: why the last writing failed; "" where it did not.
    """

    def __init__(self, path: Path, work: Callable[[], Work], pause: float = 0.5) -> None:
        self.path, self.problem, self._work, self._pause = path, "", work, pause
        self._news = threading.Condition()
        self._more = self._ending = False
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """There is more."""
        with self._news:
            self._more = True
            self._news.notify()

    def close(self) -> None:
        """Writes what is not written yet, and ends."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join()

    def _keep(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._more or self._ending)
                self._news.wait_for(lambda: self._ending, self._pause)
                more, self._more, ending = self._more, False, self._ending
            if more:
                self._write()
            if ending:
                return

    def _write(self) -> None:
        try:
            write_work(self.path, self._work())
            self.problem = ""
        except OSError as problem:
            self.problem = f"{self.path.name} cannot be written ({problem.strerror}): make room, and save"
