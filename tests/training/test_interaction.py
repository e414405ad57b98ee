import numpy as np
import pytest
import torch

from lexor.models.prompts import WindowPrompts
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.training.interaction import interact


class Spheres(Segmenter):
    """Answers with a small cube around every foreground click, and with nothing where there is none."""

    window = (8, 16, 16)
    zoom_out = "object"

    def encode(self, image: torch.Tensor) -> Encoding:
        return Encoding((image,), (8, 16, 16))

    def masks(self, encoding: Encoding, index: torch.Tensor, prompts: WindowPrompts) -> Masks:
        logits = torch.full((len(prompts), 1, 8, 16, 16), -3.0)
        for i, (points, labels) in enumerate(zip(prompts.points, prompts.labels, strict=True)):
            for point, label in zip(points, labels, strict=True):
                if label == 1:
                    z, y, x = (int(c) for c in point)
                    logits[i, 0, max(0, z - 1) : z + 2, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 3
        return Masks(logits, torch.zeros(len(prompts)))


def test_each_round_clicks_the_largest_error_of_the_last_answer() -> None:
    target = torch.zeros(2, 1, 8, 16, 16)
    target[0, 0, 1:4, 2:5, 2:5] = 1
    target[0, 0, 4:7, 10:15, 9:14] = 1  # the larger part is clicked first
    prompts = WindowPrompts.build(boxes=[(0, 0, 0, 8, 16, 16)] * 2)
    after = interact(Spheres(), torch.zeros_like(target), target, prompts, 1, np.random.default_rng(0))
    assert after.labels.tolist() == [[1], [-1]], "nothing is wrong with an empty answer to an empty target"
    z, y, x = after.points[0, 0].tolist()
    assert (z, y, x) == (5, pytest.approx(12, abs=1), pytest.approx(11, abs=1)), "the innermost voxels of it"
    assert after.previous is not None
    assert float(after.previous.max()) == -4, "the answer that was clicked was empty"
    after = interact(Spheres(), torch.zeros_like(target), target, prompts, 3, np.random.default_rng(0))
    assert after.labels[0].tolist() == [1, 1, 1]
    points = {tuple(int(c) for c in p) for p in after.points[0]}
    assert len(points) == 3
    assert all(float(target[(0, 0, *point)]) == 1 for point in points)
    assert set(after.previous.unique().tolist()) == {-4, 4}
    assert after.boxes.equal(prompts.boxes)
