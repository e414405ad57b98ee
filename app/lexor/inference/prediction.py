"""The answer to a case: all of its classes, together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lexor.inference.probability import ProbabilityMap
from lexor.inference.targets import Target


@dataclass(frozen=True)
class Prediction:
    """The answer to a case.

    Attributes:
        labels: (D, H, W), uint8 or uint16, 0 background, class i from prompt entry i.
        targets: what each class was segmented from.
        warnings: one line each.
        seconds: wall-clock time spent.
        maps: of each class, if they were asked for; see `probability`.
    """

    labels: np.ndarray
    targets: tuple[Target, ...]
    warnings: tuple[str, ...]
    seconds: float
    maps: tuple[ProbabilityMap, ...] = ()

    @property
    def n_classes(self) -> int:
        """The highest class; a last answer may have left some below it out."""
        return max((target.index for target in self.targets), default=0)

    def probability(self, index: int) -> Float[np.ndarray, "D H W"]:
        """How likely each voxel is in a class: (D, H, W) float32, 0..1 in steps of 1/255.

        It is the sigmoid of the class's own logits, before classes share out what several of them hold; 0 where the
        class was not looked for. What was found by clicks alone has the mean probability of the masks that were
        found, weighted by what they promise; what was followed along z that of the mean logits of its pieces; what
        no click has corrected and was therefore kept, .98 inside and .02 outside. It is at least .5 at a voxel that
        was clicked as foreground, less at one of the background.

        Args:
            index: the class, from 1.

        Raises:
            ValueError: there is no such class, or probabilities were not asked for.
        """
        if index not in range(1, self.n_classes + 1):
            raise ValueError(f"class {index}: there are 1..{self.n_classes}")
        if not self.maps:
            raise ValueError("probabilities were not kept; call segment(..., probabilities=True)")
        for target, found in zip(self.targets, self.maps, strict=True):
            if target.index == index:
                return found.read(target.clicks)
        return np.zeros(self.labels.shape, np.float32)
