"""Small cases for tests: what the challenge's files hold, and reading them back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lexor.io.case import Case, read_case

# Real labelled cases beside the checkout, if they are there.
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHAPE = (10, 20, 30)
VOLUME = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
BOX = {
    "z_min": 2,
    "z_max": 7,
    "z_mid": 4,
    "z_mid_x_min": 5,
    "z_mid_y_min": 3,
    "z_mid_x_max": 25,
    "z_mid_y_max": 12,
}


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def read(directory: Path, name: str = "CT_case.npz", **keys: Any) -> Case:
    np.savez_compressed(directory / name, allow_pickle=True, **{"imgs": VOLUME, **keys})
    return read_case(directory / name)


def only_warning(case: Case) -> str:
    (warning,) = case.warnings
    assert "\n" not in warning
    assert warning.startswith(f"{case.name}.npz: ")
    assert ";" in warning, "a warning ends with a remedy"
    return warning


def zero_dimensional(item: Any) -> np.ndarray:
    array = np.empty((), dtype=object)
    array[()] = item
    return array


class Hostile:
    """Unpickles as a call of os.system that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)
