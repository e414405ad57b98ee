import numpy as np
import pytest

from lexor.prompting import auto_prompt
from lexor.viewing.demo import ct_like, pet_like


@pytest.mark.parametrize(
    ("case", "centre", "radii"),
    [(ct_like(), (24, 58, 84), (15, 22, 24)), (pet_like(), (22, 56, 52), (10, 13, 15))],
    ids=["CT", "PET"],
)
def test_the_automatic_box_holds_the_bright_organ_and_little_more(case, centre, radii) -> None:
    (box,) = auto_prompt(case.volume)
    lower, upper = np.subtract(centre, radii), np.add(centre, radii)
    assert (np.array(box.lower) <= lower + 2).all()
    assert (np.array(box.upper) >= upper - 2).all()
    # Margin 5, and the blur's reach.
    assert (np.array(box.lower) >= lower - 10).all()
    assert (np.array(box.upper) <= upper + 10).all()
