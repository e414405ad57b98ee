"""Overlap of a mask with the truth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool


def dice(prediction: Bool[np.ndarray, "D H W"], truth: Bool[np.ndarray, "D H W"]) -> float:
    """Dice similarity coefficient 2|P and G| / (|P| + |G|) (paper eq. 3); 1 where both are empty."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return 1.0
    return 2 * int(np.count_nonzero(prediction & truth)) / total
