import pytest
import torch

from lexor.models.light.maps import (
    CHANNELS,
    box_mask,
    click_maps,
    elliptic_depth,
    likelihood_ratio,
    prompt_maps,
    smooth,
)
from lexor.models.window_prompts import WindowPrompts

SHAPE = (6, 10, 12)
NAN = float("nan")


def prompts(boxes, points=None, labels=None, previous=None, z_mid=3.0) -> WindowPrompts:
    count = len(boxes)
    return WindowPrompts(
        boxes=torch.tensor(boxes, dtype=torch.float32),
        z_mid=torch.full((count,), z_mid),
        points=torch.zeros(count, 0, 3) if points is None else torch.tensor(points, dtype=torch.float32),
        labels=torch.zeros(count, 0, dtype=torch.int64) if labels is None else torch.tensor(labels),
        previous=previous,
    )


def test_elliptic_depth_is_one_at_the_centre_and_zero_on_the_faces() -> None:
    depth = elliptic_depth(torch.tensor([[0.0, 0, 0, 5, 9, 11]]), (5, 9, 11))[0]
    assert float(depth[2, 4, 5]) == pytest.approx(1)
    # The first voxel's centre is half a voxel inside of the face at r = 1.
    assert float(depth[2, 0, 5]) == pytest.approx(0.5 / 4.5)
    assert float(depth[0, 0, 0]) < 0


def test_box_mask_is_the_covered_share() -> None:
    mask = box_mask(torch.tensor([[1.0, 2.5, 0, 3, 4, 12]]), SHAPE)[0]
    assert float(mask.sum()) == pytest.approx(2 * 1.5 * 12)
    assert float(mask[1, 2, 0]) == pytest.approx(0.5)
    assert float(mask[0].sum()) == 0


def test_clicks_peak_at_their_voxel_and_padding_is_nothing() -> None:
    one = prompts([[NAN] * 6], [[[2.0, 3.0, 4.0], [5.0, 9.0, 11.0]]], [[1, -1]])
    maps = click_maps(one, SHAPE)[0]
    assert float(maps[0, 2, 3, 4]) == 1
    assert float(maps[2, 2, 3, 4]) == 1
    assert maps[0, 5, 9, 11] < 1e-3
    assert float(maps[1].abs().max()) == 0
    assert float(maps[3].abs().max()) == 0
    background = click_maps(prompts([[NAN] * 6], [[[2.0, 3.0, 4.0]]], [[0]]), SHAPE)[0]
    assert float(background[1, 2, 3, 4]) == 1
    assert float(background[0].max()) == 0


def test_of_many_clicks_each_voxel_shows_the_nearest() -> None:
    places = [[2.0, 3.0, 4.0], [5.0, 9.0, 11.0], [6.0, 1.0, 2.0]]
    kinds = [1, 0, 1]
    together = click_maps(prompts([[NAN] * 6], [places], [kinds]), SHAPE)
    alone = [
        click_maps(prompts([[NAN] * 6], [[p]], [[k]]), SHAPE) for p, k in zip(places, kinds, strict=True)
    ]
    assert torch.equal(together, torch.stack(alone).amax(0))


def test_likelihood_ratio_tells_the_bright_object_from_its_background() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 16, 24, 24) * 0.3
    image[:, 5:11, 8:16, 8:16] += 2
    prior = torch.full_like(image, -2.0)
    prior[:, 4:12, 7:17, 7:17] = 2.0
    ratio = likelihood_ratio(image, prior)[0]
    inside, outside = float(ratio[5:11, 8:16, 8:16].mean()), float(ratio[:4].mean())
    assert outside < 0 < inside
    assert inside - outside > 1.5


def test_smoothing_keeps_constants_and_means() -> None:
    torch.testing.assert_close(smooth(torch.full((1, 4, 5, 6), 3.0)), torch.full((1, 4, 5, 6), 3.0))
    image = torch.zeros(1, 9, 9, 9)
    image[0, 4, 4, 4] = 1
    assert float(smooth(image).sum()) == pytest.approx(1, abs=1e-5)


def test_prompts_do_not_influence_one_another() -> None:
    torch.manual_seed(1)
    image = torch.randn(3, *SHAPE)
    boxes = [[1.0, 2, 2, 4, 8, 9], [NAN] * 6, [0.0, 0, 0, 6, 10, 12]]
    points = [[[1.0, 1, 1]], [[3.0, 5, 6]], [[0.0, 0, 0]]]
    labels = [[-1], [1], [0]]
    previous = torch.randn(3, 1, *SHAPE)
    previous[0] = 0
    together = prompt_maps(image, prompts(boxes, points, labels, previous))
    for i in range(3):
        alone = prompt_maps(
            image[i : i + 1],
            prompts(boxes[i : i + 1], points[i : i + 1], labels[i : i + 1], previous[i : i + 1]),
        )
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i], b[0])


def test_no_previous_and_an_all_zero_one_are_the_same() -> None:
    image = torch.randn(1, *SHAPE)
    boxes = [[1.0, 2, 2, 4, 8, 9]]
    without = prompt_maps(image, prompts(boxes))
    zero = prompt_maps(image, prompts(boxes, previous=torch.zeros(1, 1, *SHAPE)))
    assert without[0].shape == (1, CHANNELS, *SHAPE)
    for a, b in zip(without, zero, strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.isnan(prompt_maps(image, prompts([[NAN] * 6]))[0]).any()
