import numpy as np
import pytest
import torch

from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts
from lexor.training import interaction
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


def test_a_prompt_without_a_box_is_looked_at_with_the_box_of_its_last_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = torch.zeros(2, 1, 8, 16, 16)
    target[:, 0, 2:7, 5:12, 4:13] = 1
    prompts = WindowPrompts.build(
        boxes=[None, (1, 2, 3, 7, 12, 13)], points=[[(4, 8, 8)]] * 2, labels=[[1]] * 2
    )
    looks = dict.fromkeys(("box and click", "box alone", "click alone"), 0)
    for seed in range(40):
        after = interact(Spheres(), torch.zeros_like(target), target, prompts, 1, np.random.default_rng(seed))
        assert after.previous is not None
        assert after.boxes[1].tolist() == [1, 2, 3, 7, 12, 13], "a given box stays"
        boxed, clicked = bool(after.has_box[0]), after.labels[0, -1] == 1
        if boxed:
            assert after.boxes[0].tolist() == [3, 7, 7, 6, 10, 10], "of the cube that was answered"
            assert after.z_mid[0] == 4
        peak = 4 if clicked else 3
        assert float(after.previous[0].max()) == peak, "a mask where it was clicked, else the logits"
        looks["box and click" if boxed and clicked else "box alone" if boxed else "click alone"] += 1
        assert after.labels[1, -1] == 1
    assert min(looks.values()) > 4
    monkeypatch.setattr(interaction, "CLOSER", 0.0)
    after = interact(Spheres(), torch.zeros_like(target), target, prompts, 3, np.random.default_rng(0))
    assert after.has_box.tolist() == [False, True]
