"""A step of a session, kept so that it can be taken back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lexor.geometry import extent
from lexor.inference.marks import Prompts

NOWHERE = (slice(0), slice(0), slice(0))


@dataclass(frozen=True, eq=False)
class Step:
    """What a change has replaced: all prompts, and the labels of a part of the volume; None: there were none."""

    prompts: tuple[Prompts, ...]
    current: int
    where: tuple[slice, slice, slice]
    labels: np.ndarray | None

    @classmethod
    def between(
        cls, prompts: tuple[Prompts, ...], current: int, before: np.ndarray | None, after: np.ndarray
    ) -> Step:
        """The step from labels to labels (D, H, W), with the prompts before it."""
        if before is None:
            return cls(prompts, current, NOWHERE, None)
        where = extent(before != after) or NOWHERE
        return cls(prompts, current, where, before[where].copy())

    @property
    def prompts_alone(self) -> bool:
        """Whether it has changed no labels."""
        return self.where == NOWHERE

    @property
    def bytes(self) -> int:
        """Of the labels."""
        return 0 if self.labels is None else self.labels.nbytes

    def prompts_before(self, after: tuple[Prompts, ...]) -> tuple[Prompts, ...]:
        """The prompts before the step; what is locked stays so. Objects are only ever added."""
        pairs = zip(self.prompts, after[: len(self.prompts)], strict=True)
        return tuple(replace(then, locked=now.locked) for then, now in pairs)
