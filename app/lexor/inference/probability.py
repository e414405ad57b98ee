"""How likely each voxel is in a class, kept in a byte each until it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from lexor.geometry import Clicks, Shape
from lexor.inference.merging import Answer, Slices

# So many steps from 0 to 1: a chance of .5 or more is a byte of 128 or more.
STEPS = 255


@dataclass(frozen=True)
class ProbabilityMap:
    """The sigmoid of an answer's logits, where it is not 0.

    Attributes:
        where: the part of the volume that the values are of; 0 elsewhere.
        values: in `STEPS` from 0 to 1.
        shape: of the volume.
    """

    where: Slices
    values: UInt8[np.ndarray, "d h w"]
    shape: Shape

    @classmethod
    def of(cls, answer: Answer) -> ProbabilityMap:
        """That of an answer."""
        values = torch.sigmoid(answer.logits).mul_(STEPS).round_().byte().numpy()
        return cls(answer.where, values, answer.shape)

    def read(self, clicks: Clicks) -> Float[np.ndarray, "D H W"]:
        """(D, H, W) float32, 0..1; at least .5 at the voxels that clicks say are inside, below it at the others.

        Args:
            clicks: of one voxel the latest counts.
        """
        bytes_ = np.zeros(self.shape, np.uint8)
        bytes_[self.where] = self.values
        for point, inside in zip(clicks.points, clicks.foreground, strict=True):
            least = STEPS // 2 + 1
            bytes_[point] = max(bytes_[point], least) if inside else min(bytes_[point], least - 1)
        return (bytes_ / np.float32(STEPS)).astype(np.float32)
