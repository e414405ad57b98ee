"""Label volumes: of any dtype that holds whole numbers, and which labels they have."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped

from lexor.errors import CaseError


def as_integers(labels: Shaped[np.ndarray, ...]) -> Integer[np.ndarray, ...]:
    """The labels as integers: these as they are, booleans as 0 and 1, floats where all are whole numbers.

    Raises CaseError, from the dtype or value on and without file and key, where they are anything else.
    """
    if labels.dtype.kind in "iu":
        return labels
    if labels.dtype.kind == "b":
        return labels.view(np.uint8)
    if labels.dtype.kind != "f":
        raise CaseError(f"has dtype {labels.dtype}; give integer labels")
    whole = np.empty(labels.shape, np.int32)
    for part, out in zip(np.atleast_1d(labels), np.atleast_1d(whole), strict=True):
        with np.errstate(invalid="ignore"):  # what does not fit is found by not being the same
            np.copyto(out, part, casting="unsafe")
        differs = out != part
        if differs.any():
            value = part[differs].flat[0]
            raise CaseError(f"is {labels.dtype} and holds {value:g}; give integer labels, 0 for background")
    return whole


def present(labels: Integer[np.ndarray, "D H W"], highest: int) -> list[int]:
    """The labels 1..highest that a volume of labels 0..highest has, in order."""
    found = np.zeros(highest + 1, bool)
    for part in labels:
        found[part] = True
    indices: Any = np.flatnonzero(found[1:]) + 1
    return [int(index) for index in indices]
