"""What a model sees of prompts: tensors in the coordinates of its window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Corners = Sequence[int | float]


@dataclass
class WindowPrompts:
    """P prompts, each for one window, on one device.

    Attributes:
        boxes: (P, 6) float32, z1 y1 x1 z2 y2 x2 in voxel edges of the window, half-open; they may reach past
            the window. A row that holds NaN is no box.
        z_mid: (P,) float32, the window's z index of the slice on which y and x were measured; unused where
            there is no box.
        points: (P, N, 3) float32, z y x in (fractional) voxel indices of the window.
        labels: (P, N) int64, 1 foreground, 0 background, -1 padding.
        previous: (P, 1, d, h, w) float32 logits of the previous mask, all zero where there is none; or None.

    Raises:
        ValueError: a shape or dtype other than the above; names the field, what it is and what it should be.
    """

    boxes: Float[Tensor, "P 6"]
    z_mid: Float[Tensor, " P"]
    points: Float[Tensor, "P N 3"]
    labels: Int[Tensor, "P N"]
    previous: Float[Tensor, "P 1 d h w"] | None = None

    def __post_init__(self) -> None:
        count = self.boxes.shape[0] if self.boxes.ndim else 0
        clicks = self.points.shape[1] if self.points.ndim == 3 else 0
        _check("boxes", self.boxes, (count, 6), floating=True)
        _check("z_mid", self.z_mid, (count,), floating=True)
        _check("points", self.points, (count, clicks, 3), floating=True)
        _check("labels", self.labels, (count, clicks), floating=False)
        if self.previous is not None:
            window = tuple(self.previous.shape[2:]) if self.previous.ndim == 5 else ("d", "h", "w")
            _check("previous", self.previous, (count, 1, *window), floating=True)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def has_box(self) -> Bool[Tensor, " P"]:
        """Which prompts have a box."""
        return ~self.boxes.isnan().any(1)

    @classmethod
    def build(
        cls,
        boxes: Sequence[Corners | None] | None = None,
        points: Sequence[Sequence[Corners]] | None = None,
        labels: Sequence[Sequence[int]] | None = None,
        *,
        z_mid: Corners | None = None,
        previous: Tensor | None = None,
    ) -> WindowPrompts:
        """Prompts from plain lists, padded to one number of points.

        Args:
            boxes: z1 y1 x1 z2 y2 x2 of each prompt, half-open, None where it has no box.
            points: the z y x of each prompt's points.
            labels: their labels, 1 or 0, in the same nesting.
            z_mid: slice of each box's measure; the box's middle slice when left out.
            previous: (P, 1, d, h, w) logits.

        Raises:
            ValueError: lists of different lengths, no prompt at all, a value that is not finite.
        """
        given = [len(x) for x in (boxes, points, labels, z_mid) if x is not None]
        if previous is not None:
            given.append(len(previous))
        if len(set(given)) != 1 or (points is None) != (labels is None):
            raise ValueError(
                f"prompts: lists of {given} entries; give one entry a prompt each, labels with points"
            )
        count = given[0]
        box_rows = [[float("nan")] * 6 if box is None else list(box) for box in boxes or [None] * count]
        if any(len(row) != 6 for row in box_rows):
            raise ValueError("prompts: a box has not six values; give z1 y1 x1 z2 y2 x2")
        box_tensor = torch.tensor(box_rows, dtype=torch.float32)
        point_rows, label_rows = points or [[]] * count, labels or [[]] * count
        most = max((len(row) for row in point_rows), default=0)
        point_tensor = torch.zeros(count, most, 3)
        label_tensor = torch.full((count, most), -1, dtype=torch.int64)
        for i, (row, kinds) in enumerate(zip(point_rows, label_rows, strict=True)):
            if len(row) != len(kinds):
                raise ValueError(
                    f"prompts: entry {i} has {len(row)} points, {len(kinds)} labels; give one each"
                )
            if row:
                point_tensor[i, : len(row)] = torch.tensor(row, dtype=torch.float32)
                label_tensor[i, : len(row)] = torch.tensor(kinds, dtype=torch.int64)
        if z_mid is None:
            middle = [0.0 if box is None else (box[0] + box[3] - 1) / 2 for box in boxes or [None] * count]
        else:
            middle = list(z_mid)
        slices = torch.tensor(middle, dtype=torch.float32)
        prompts = cls(box_tensor, slices, point_tensor, label_tensor, previous)
        if box_tensor.isinf().any() or not point_tensor.isfinite().all():
            raise ValueError("prompts: a coordinate is not finite; leave the box or point out instead")
        return prompts

    def to(self, device: torch.device | str) -> WindowPrompts:
        """The same prompts on a device."""
        previous = None if self.previous is None else self.previous.to(device)
        return WindowPrompts(
            self.boxes.to(device),
            self.z_mid.to(device),
            self.points.to(device),
            self.labels.to(device),
            previous,
        )

    def confined(self, window: tuple[int, int, int]) -> WindowPrompts:
        """Boxes cut to the window, points outside of it turned into padding.

        A box that misses the window altogether becomes a box of no thickness on the nearest face.
        """
        upper = self.boxes.new_tensor([*window, *window])
        # torch.minimum and maximum carry NaN on, so "no box" stays no box.
        boxes = torch.minimum(torch.maximum(self.boxes, torch.zeros_like(upper)), upper)
        inside = ((self.points >= -0.5) & (self.points < self.points.new_tensor(window) - 0.5)).all(2)
        labels = torch.where(inside, self.labels, torch.full_like(self.labels, -1))
        return WindowPrompts(boxes, self.z_mid, self.points, labels, self.previous)


def _check(field: str, tensor: Tensor, shape: tuple[int | str, ...], *, floating: bool) -> None:
    found = tuple(tensor.shape)
    if found != shape:
        wanted = str(shape).replace("'", "")
        raise ValueError(f"prompts: {field} has shape {found}, should have {wanted}; boxes' length counts")
    dtype = torch.float32 if floating else torch.int64
    if tensor.dtype != dtype:
        raise ValueError(f"prompts: {field} is {tensor.dtype}, should be {dtype}; convert it")
