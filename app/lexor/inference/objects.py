"""The objects of a session: what was said of each, their labels, and the steps that led there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Integer

from lexor.geometry import Shape
from lexor.inference.canvas import Canvas
from lexor.inference.marks import Prompts
from lexor.inference.merging import Slices
from lexor.inference.steps import NOWHERE, Step

# Bytes that undoing may keep of earlier labels, beside the last step.
MOST_REMEMBERED = 1 << 28


class Objects:
    """Objects 1, 2, ... of a volume, one of which is the current one.

    Args:
        shape: of the volume.
        prompts: what is said of each; at least one.
        labels: (D, H, W) of them, or None where there are none; they are not changed.

    Attributes:
        prompts: see there.
        current: the object that new prompts are about.
        canvas: the labels.
    """

    def __init__(
        self, shape: Shape, prompts: tuple[Prompts, ...] = (Prompts(),), labels: np.ndarray | None = None
    ) -> None:
        self.prompts = prompts
        self.current = 1
        self.canvas = Canvas(shape, labels)
        self._history: list[Step] = []

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def mine(self) -> Prompts:
        """What is said of the current object."""
        return self.prompts[self.current - 1]

    def checked(self, number: int) -> int:
        """The number of an object.

        Raises:
            ValueError: there is no such object.
        """
        if number not in range(1, len(self) + 1):
            raise ValueError(f"object {number}: there are 1..{len(self)}")
        return int(number)

    def untouched(self, number: int) -> bool:
        """Whether nothing was said of an object, and it has no voxel."""
        prompts = self.prompts[number - 1]
        return (
            prompts.box is None
            and not prompts.marks
            and not prompts.clicks.points
            and self.canvas.where(number) is None
        )

    def locked(self) -> list[int]:
        """The locked objects but for the current one."""
        return [i for i, p in enumerate(self.prompts, start=1) if p.locked and i != self.current]

    def make(self, count: int) -> None:
        """Makes new objects until there are so many."""
        self.prompts += (Prompts(),) * max(0, count - len(self))

    def begin(self) -> None:
        """Makes a new object the current one, unless the last is as new."""
        if not self.untouched(len(self)):
            self.make(len(self) + 1)
        self.current = len(self)

    def say(self, number: int, prompts: Prompts) -> None:
        """Replaces what is said of an object; that is no step of its own."""
        self.prompts = (*self.prompts[: number - 1], prompts, *self.prompts[number:])

    def note(self, prompts: Prompts) -> None:
        """Replaces what is said of the current object, to be answered later."""
        before, labels = self.prompts, self.canvas.labels
        self.say(self.current, replace(prompts, waiting=True))
        self._keep(Step(before, self.current, NOWHERE, None if labels is None else labels[NOWHERE]))

    def store(
        self,
        mask: Bool[np.ndarray, "D H W"],
        where: Slices | None,
        prompts: Prompts,
        answered: bool = False,
    ) -> None:
        """Makes a mask the current object's, but for the voxels of locked objects.

        Args:
            mask: of the volume.
            where: holds all of it; None: it is empty.
            prompts: what was said of the object.
            answered: whether it answers what was noted; both are taken back together.
        """
        before = self.prompts
        changed, held = self.canvas.place(self.current, mask, where, self.locked())
        self.say(self.current, prompts)
        noted = self._history[-1] if answered and self._history else None
        if noted is not None and noted.prompts_alone and noted.current == self.current:
            before = self._history.pop().prompts
        self._keep(Step(before, self.current, changed, held))

    def relabel(self, labels: Integer[np.ndarray, "D H W"], before: tuple[Prompts, ...]) -> None:
        """Takes other labels for all objects, which are copied once they change.

        Args:
            labels: the new ones.
            before: the prompts that there were.
        """
        self._keep(Step.between(before, self.current, self.canvas.labels, labels))
        self.canvas = Canvas(self.canvas.shape, labels)

    def undo(self) -> bool:
        """Takes back the last step; False where there is none."""
        if not self._history:
            return False
        step = self._history.pop()
        self.prompts, self.current = step.prompts_before(self.prompts), step.current
        self.canvas.put_back(step.where, step.labels)
        return True

    def _keep(self, step: Step) -> None:
        """Puts a step into the history, from which the oldest go where it grows too large."""
        self._history.append(step)
        while len(self._history) > 1 and sum(step.bytes for step in self._history) > MOST_REMEMBERED:
            self._history.pop(0)
