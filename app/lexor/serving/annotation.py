"""A scan that somebody annotates in the browser: the session, how its objects look, what is kept and saved.

All that is said of the scan goes to one `Session`. Everything here speaks view order (see `Orientation`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Integer, Shaped, UInt8

from lexor.errors import CaseError
from lexor.geometry import extent
from lexor.inference.session import Session
from lexor.serving.keeping import MOST_OBJECTS, Claim, Keeper, Look, Work
from lexor.serving.orientation import Orientation, ViewVoxel

if TYPE_CHECKING:
    from lexor.io.scan import Scan

Saver = Callable[[Path, np.ndarray, dict[int, str]], Any]


@dataclass(frozen=True, eq=False)
class Update:
    """What a step has changed: from which revision of the labels to which, and the labels of the changed box.

    Attributes:
        before, after: the numbers of the revisions.
        first: the box's first voxel.
        labels: (Z, Y, X) in view order; None where no voxel has changed.
        state: see `Annotation.state`.
    """

    before: int
    after: int
    first: ViewVoxel
    labels: UInt8[np.ndarray, "Z Y X"] | None
    state: dict[str, Any]


class Annotation:
    """One scan, one session. Methods may be called from several threads; one after the other does its work.

    Args:
        scan: what is shown.
        session: which has opened its case.
        output: the file that the labels are saved in.
        save: writes labels (D, H, W) to a file, with the names of those that it has.
        looks: how the objects are called and coloured; others have the usual look.
        saved: whether the output holds the labels, or there are none.
    """

    def __init__(
        self,
        scan: Scan,
        session: Session,
        output: Path,
        save: Saver,
        looks: tuple[Look, ...] = (),
        saved: bool = True,
    ) -> None:
        from lexor.io.scans.model import flipped, reversed_axes

        self.scan, self.output = scan, output
        self.orientation = Orientation.of(scan.shape, flipped(reversed_axes(scan.affine)))
        self.keeper: Keeper | None = None
        self.claim: Claim | None = None
        self._session, self._save, self._looks = session, save, list(looks)
        self._lock = threading.Lock()
        self._revision, self._edits, self._saved = 0, 0, 0 if saved else -1
        self._counts = np.bincount(session.labels().ravel(), minlength=MOST_OBJECTS + 1)

    def keep(self, path: Path, key: str, began: str = "") -> None:
        """From now on, keeps unfinished work in a file; see `Work`."""
        self.keeper = Keeper(path, lambda: self._work(key, began))

    def close(self) -> None:
        """Writes what is not kept yet, and lets go of the output."""
        if self.keeper is not None:
            self.keeper.close()
        if self.claim is not None:
            self.claim.release()

    def whole(self) -> Update:
        """All labels."""
        with self._lock:
            labels = self.orientation.to_view(self._labels())
            return Update(self._revision, self._revision, (0, 0, 0), labels, self._state())

    def click(self, at: ViewVoxel, positive: bool) -> Update:
        """See `Session.click`."""
        return self._step(lambda session: session.click(self._inside(at), positive))

    def box(self, first: ViewVoxel, last: ViewVoxel, drawn_on: ViewVoxel | None = None) -> Update:
        """See `Session.box`.

        Args:
            first, last: two opposite voxels of it.
            drawn_on: a voxel of the slice on which the box was drawn first.
        """
        lower, upper = self.orientation.corners(self._inside_view(first), self._inside_view(last))
        z_mid = None
        if drawn_on is not None:
            z_mid = min(max(self._inside(drawn_on)[0], lower[0]), upper[0] - 1)
        return self._step(lambda session: session.box(lower, upper, z_mid))

    def scribble(self, voxels: Integer[np.ndarray, "n 3"], positive: bool) -> Update:
        """See `Session.scribble`.

        Args:
            voxels: of the scribble, x y z.
            positive: whether they belong to the object.
        """
        if not len(voxels) or (voxels < 0).any() or (voxels >= np.array(self.orientation.view_shape)).any():
            raise CaseError("the scribble is empty, or leaves the volume; draw it on the image")
        mask = np.zeros(self.scan.shape, bool)
        z, y, x = self.orientation.voxels(voxels).T
        mask[z, y, x] = True
        return self._step(lambda session: session.scribble(mask, positive))

    def undo(self) -> Update:
        """See `Session.undo`.

        Raises:
            CaseError: there is nothing to take back.
        """

        def step(session: Session) -> None:
            if not session.undo():
                raise CaseError("nothing to undo: no step has been made since the scan was opened")

        return self._step(step)

    def clear(self) -> Update:
        """Forgets the current object's prompts and mask, which `undo` brings back."""
        return self._step(lambda session: session.reset())

    def new_object(self) -> Update:
        """See `Session.new_object`.

        Raises:
            CaseError: there are as many as can be drawn.
        """

        def step(session: Session) -> None:
            if session.objects >= MOST_OBJECTS:
                raise CaseError(
                    f"there are {session.objects} objects already; at most {MOST_OBJECTS} can be shown"
                )
            session.new_object()

        return self._step(step)

    def select(self, number: int) -> Update:
        """Makes an object the current one."""
        return self._step(lambda session: session.select(number))

    def change(
        self, number: int, name: str | None = None, colour: str | None = None, locked: bool | None = None
    ) -> Update:
        """Gives an object another name or colour, locks it, or unlocks it.

        Raises:
            CaseError: that is no name or colour.
            ValueError: there is no such object.
        """

        def step(session: Session) -> None:
            if number not in range(1, session.objects + 1):
                raise ValueError(f"object {number}: there are 1..{session.objects}")
            looks = self._all_looks()
            look = looks[number - 1]
            looks[number - 1] = Look(
                look.name if name is None else name.strip(), look.colour if colour is None else colour.lower()
            )
            if locked is not None:
                session.lock(number, locked)
            self._looks = looks

        return self._step(step)

    def save(self) -> Update:
        """Writes the labels to the output.

        Raises:
            CaseError, OSError: it cannot be written; what is there stays.
        """
        with self._lock:
            looks = self._all_looks()
            names = {
                number: looks[number - 1].name for number in range(1, len(looks) + 1) if self._counts[number]
            }
            self._save(self.output, self._labels(), names)
            self._saved = self._edits
            if self.keeper is not None:
                self.keeper.touch()
            return Update(self._revision, self._revision, (0, 0, 0), None, self._state())

    def state(self) -> dict[str, Any]:
        """What the browser shows beside the labels."""
        with self._lock:
            return self._state()

    def _step(self, act: Callable[[Session], object]) -> Update:
        """Does something to the session, and tells what it has changed; if it fails, nothing is."""
        with self._lock:
            before, looks = self._labels(), self._looks
            act(self._session)
            after = self._labels()
            first, changed = (0, 0, 0), None
            if (where := extent(before != after)) is not None:
                self._counts = self._counts + _counts(after[where]) - _counts(before[where])
                changed = self.orientation.to_view(after[where])
                lower = where[0].start, where[1].start, where[2].start
                first, _ = self.orientation.seen_corners(lower, (where[0].stop, where[1].stop, where[2].stop))
            self._revision += 1
            self._edits += changed is not None or looks is not self._looks
            if self.keeper is not None:
                self.keeper.touch()
            return Update(self._revision - 1, self._revision, first, changed, self._state())

    def _labels(self) -> UInt8[np.ndarray, "D H W"]:
        return self._session.labels().astype(np.uint8, copy=False)

    def _inside_view(self, at: ViewVoxel) -> ViewVoxel:
        if not all(
            0 <= position < length for position, length in zip(at, self.orientation.view_shape, strict=True)
        ):
            raise CaseError(f"{at} is outside of the volume, which has {self.orientation.view_shape} voxels")
        return at

    def _inside(self, at: ViewVoxel) -> tuple[int, int, int]:
        return self.orientation.voxel(self._inside_view(at))

    def _all_looks(self) -> list[Look]:
        missing = range(len(self._looks) + 1, self._session.objects + 1)
        return self._looks + [Look.usual(number) for number in missing]

    def _work(self, key: str, began: str) -> Work:
        with self._lock:
            session = self._session
            return Work(
                key,
                began,
                session.prompts,
                tuple(self._all_looks()),
                session.current,
                self._labels(),
                self._saved == self._edits,
            )

    def _state(self) -> dict[str, Any]:
        looks, seen = self._all_looks(), self.orientation
        objects = []
        for number, (said, look) in enumerate(zip(self._session.prompts, looks, strict=True), start=1):
            clicks = zip(said.clicks.points, said.clicks.foreground, strict=True)
            objects.append(
                {
                    "number": number,
                    "name": look.name,
                    "colour": look.colour,
                    "locked": said.locked,
                    "voxels": int(self._counts[number]),
                    "box": None if said.box is None else seen.seen_corners(said.box.lower, said.box.upper),
                    "clicks": [(*seen.seen(point), positive) for point, positive in clicks],
                }
            )
        return {
            "revision": self._revision,
            "current": self._session.current,
            "objects": objects,
            "saved": self._saved == self._edits,
            "output": str(self.output),
            "kept": None if self.keeper is None else str(self.keeper.path),
            "problem": "" if self.keeper is None else self.keeper.problem,
        }


def _counts(labels: Shaped[np.ndarray, "D H W"]) -> np.ndarray:
    return np.bincount(labels.ravel(), minlength=MOST_OBJECTS + 1)
