import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexor.geometry import Shape
from lexor.inference.merging import Answer
from lexor.inference.strategies.agreement import agree
from lexor.inference.views import View

SHAPE: Shape = (12, 20, 20)
WHOLE = View((0.0, 0.0, 0.0), (12.0, 20.0, 20.0), SHAPE)


def logits(mask: np.ndarray, value: float = 9.0) -> torch.Tensor:
    return torch.where(torch.from_numpy(mask), value, -value)[None].float()


def block(low: int, high: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[low:high, low:high, low:high] = True
    return mask


def on_volume(answer: Answer) -> np.ndarray:
    labels = np.zeros(SHAPE, bool)
    labels[answer.where] = (answer.logits > 0).numpy()
    return labels


def test_one_mask_agrees_with_itself() -> None:
    answer = agree([(WHOLE, logits(block(3, 8)))], [0.2], SHAPE)
    np.testing.assert_array_equal(on_volume(answer), block(3, 8))
    assert answer.step == WHOLE.step


def test_a_voxel_is_in_if_most_of_the_weight_is_for_it() -> None:
    small, large = block(3, 6), block(2, 9)
    for share, expected in ((0.48, small), (0.52, large)):
        masks = [(WHOLE, logits(small)), (WHOLE, logits(large))]
        answer = agree(masks, [1 - share, share], SHAPE)
        np.testing.assert_array_equal(on_volume(answer), expected)


def test_a_sure_mask_outvotes_doubtful_ones() -> None:
    masks = [(WHOLE, logits(block(2, 5)))] + 2 * [(WHOLE, logits(block(2, 5), -0.1))]
    np.testing.assert_array_equal(on_volume(agree(masks, [1.0, 1.0, 1.0], SHAPE)), block(2, 5))


def test_the_even_chance_is_where_expected_dice_is_highest() -> None:
    """Of all masks between three equally likely ones, none has a higher mean Dice than what they agree on."""
    likely = [block(2, 5), block(2, 7), block(2, 10)]
    answer = on_volume(agree([(WHOLE, logits(mask)) for mask in likely], [1.0, 1.0, 1.0], SHAPE))

    def expected(mask: np.ndarray) -> float:
        return float(np.mean([2 * (mask & other).sum() / (mask.sum() + other.sum()) for other in likely]))

    assert expected(answer) == max(expected(block(2, high)) for high in range(3, 12))


@given(
    st.lists(st.tuples(*[st.floats(0, 0.6)] * 3, *[st.floats(0.25, 0.4)] * 3), min_size=1, max_size=4),
    st.integers(0, 2**31),
)
def test_views_of_their_own_agree_as_their_answers_would(boxes, seed: int) -> None:
    """Cutting windows down to their masks changes nothing that decides."""
    rng = np.random.default_rng(seed)
    masks, chance = [], np.zeros(SHAPE)
    for *low, d, h, w in boxes:
        lower = [a * n for a, n in zip(low, SHAPE, strict=True)]
        upper = [a + s * n for a, s, n in zip(lower, (d, h, w), SHAPE, strict=True)]
        view = View((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]), (4, 6, 6))
        window = torch.from_numpy(rng.choice([-12.0, 6.0], (1, 4, 6, 6), p=[0.8, 0.2])).float()
        masks.append((view, window))
        where, values = view.write(window, SHAPE)
        chance[where] += torch.sigmoid(values[0]).numpy() / len(boxes)
    answer = agree(masks, [1.0] * len(masks), SHAPE)
    found = np.zeros(SHAPE)
    found[answer.where] = torch.sigmoid(answer.logits).numpy()
    assert np.abs(found - chance).max() < 0.02


def test_a_mask_between_the_centres_of_voxels_is_no_error() -> None:
    """Small targets are seen enlarged: one window voxel, at the window's edge, may hold no voxel's centre."""
    view = View((2.0, 2.0, 2.0), (5.0, 5.0, 5.0), (12, 12, 12))
    for corner in (0, 11):
        window = torch.full((1, 12, 12, 12), -9.0)
        window[0, corner, corner, corner] = 9.0
        assert not on_volume(agree([(view, window)], [1.0], SHAPE)).any()


def test_a_mask_seen_as_empty_counts_as_one() -> None:
    masks = [(WHOLE, logits(block(3, 8))), (WHOLE, torch.full((1, *SHAPE), -9.0))]
    assert not on_volume(agree(masks, [1.0, 1.5], SHAPE)).any()
    assert on_volume(agree(masks, [1.5, 1.0], SHAPE)).any()
