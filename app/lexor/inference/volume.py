"""A volume as the strategies look at it, prepared once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from lexor.geometry import Shape
from lexor.inference.framing import in_plane_ratio
from lexor.inference.views import Triple


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume and the ratio of its voxels.

    Attributes:
        voxels: (1, D, H, W) uint8, on the CPU.
        ratio: slice distance over pixel size.
    """

    voxels: UInt8[Tensor, "1 D H W"]
    ratio: float = 1.0

    @classmethod
    def of(cls, array: UInt8[np.ndarray, "D H W"], spacing: Triple | None = None) -> Volume:
        """That of an array (D, H, W), with millimetres between its voxels, or None where nobody knows them."""
        return cls(
            torch.from_numpy(np.require(array, requirements=["C", "W"]))[None], in_plane_ratio(spacing)
        )

    @property
    def shape(self) -> Shape:
        """(D, H, W)."""
        _, depth, height, width = self.voxels.shape
        return depth, height, width
