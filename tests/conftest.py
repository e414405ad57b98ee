"""What tests share: real volumes where there are any, and small synthetic cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from shapes import check_package

# Before anything of the package is imported.
check_package("lexor")

from case_files import SHARED  # noqa: E402
from lexor.geometry import Box, Clicks  # noqa: E402
from lexor.io.case import Case  # noqa: E402

# A loaded machine is no failure of the code.
settings.register_profile("lexor", deadline=None)
settings.load_profile("lexor")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled cases beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside this checkout: real volumes are not part of the project")
    return SHARED


@pytest.fixture
def ball_case() -> Case:
    """A bright ball in noise, its tight box, no clicks."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[:24, :48, :48]
    ball = ((z - 12) / 7) ** 2 + ((y - 22) / 9) ** 2 + ((x - 25) / 9) ** 2 <= 1
    volume = np.clip(60 + 120 * ball + rng.normal(0, 10, ball.shape), 0, 255).astype(np.uint8)
    box = Box((5, 13, 16), (20, 32, 35), 12)
    return Case("CT_ball", volume, (1.0, 1.0, 1.0), (box,), (Clicks((), ()),), None, ())
