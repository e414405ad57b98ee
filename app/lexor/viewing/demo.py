"""The demo: two synthetic cases made on the spot, a CT-like abdomen and a PET-like hot spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from lexor.case import Case, write_case
from lexor.inference.batch import Outcome
from lexor.viewing.preview import draw_cases

SHAPE = (48, 128, 128)


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    terms = [((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre, radii, strict=True)]
    inside: np.ndarray = sum(terms[1:], terms[0]) <= 1
    return inside


def _case(name: str, image: np.ndarray, spacing: tuple[float, float, float]) -> Case:
    volume = np.clip(image, 0, 255).astype(np.uint8)
    return Case(name, volume, spacing, boxes=(), clicks=(), previous=None, warnings=())


def ct_like() -> Case:
    """A body that fills the field of view, with a lung's base, a spine and one bright, contrast-filled organ."""
    rng = np.random.default_rng(1)
    image = np.zeros(SHAPE)
    image[_ellipsoid((24, 64, 64), (200, 62, 72))] = 70
    image[_ellipsoid((24, 64, 64), (200, 57, 67))] = 95
    image[_ellipsoid((24, 100, 64), (200, 7, 8))] = 240
    image[_ellipsoid((8, 46, 30), (14, 20, 16))] = 15
    image[_ellipsoid((24, 58, 84), (15, 22, 24))] = 150
    image = ndimage.gaussian_filter(image, 0.8) + rng.normal(0, 6, SHAPE)
    return _case("CT_demo", image, (3.0, 1.5, 1.5))


def pet_like() -> Case:
    """Faint tissue with one broad and one small spot of uptake."""
    rng = np.random.default_rng(2)
    image = np.zeros(SHAPE)
    image[_ellipsoid((24, 64, 64), (60, 50, 58))] = 14
    image[_ellipsoid((22, 56, 52), (10, 13, 15))] = 200
    image[_ellipsoid((34, 84, 88), (4, 5, 5))] = 160
    image = ndimage.gaussian_filter(image, (1.5, 2, 2))
    return _case("PET_demo", image + rng.normal(0, 3, SHAPE) * np.sqrt(image / 60 + 0.1), (4.0, 3.0, 3.0))


def write_demo_cases(folder: Path) -> list[Path]:
    """Writes both cases, without prompts, as challenge files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for case in (ct_like(), pet_like()):
        paths.append(folder / f"{case.name}.npz")
        write_case(paths[-1], case)
    return paths


def draw_demo(outcomes: Sequence[Outcome], path: Path) -> Path:
    """The answers to both cases in one picture."""
    return draw_cases(
        [
            (o.case.name, o.case.volume, o.prediction.labels, [t.box for t in o.prediction.targets])
            for o in outcomes
            if o.case is not None and o.prediction is not None
        ],
        path,
    )
