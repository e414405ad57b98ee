from __future__ import annotations

import pytest
import torch

from lexor.geometry import Box, Clicks
from lexor.inference.runner import Look, Runner
from lexor.inference.targets import Target
from lexor.inference.views import View, triple
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts

WINDOW = (4, 8, 8)


class Correcting(Segmenter):
    """Starts at 1 everywhere, and corrects it to 3."""

    window = WINDOW
    zoom_out = "object"

    def encode(self, image: torch.Tensor) -> Encoding:
        return Encoding((image,), WINDOW)

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        start = torch.ones(len(index), 1, *WINDOW)
        return Masks(3 * start, torch.zeros(len(index)), start)


@pytest.mark.parametrize(("certainty", "without_click"), [(1.0, 3.0), (0.5, 2.0), (0.0, 1.0)])
def test_until_it_is_clicked_an_answer_keeps_a_share_of_the_correction(
    certainty: float, without_click: float
) -> None:
    model = Correcting()
    model.certainty = certainty
    box = Box((0, 0, 0), WINDOW, 2)
    view = View((0.0, 0.0, 0.0), triple(WINDOW), WINDOW)
    looks = [
        Look(view, Target(i, box, clicks, None, view.lower, view.upper, "box"))
        for i, clicks in enumerate([Clicks(), Clicks(((1, 2, 3),), (False,))])
    ]
    runner = Runner(model, torch.device("cpu"))
    found = [logits for _, logits, _ in runner.masks(torch.zeros(1, *WINDOW), looks)]
    assert [float(logits.min()) for logits in found] == [without_click, 3.0]
    assert [float(logits.max()) for logits in found] == [without_click, 3.0]
