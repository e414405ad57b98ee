import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexor.training.object_samples import Mix, make_sample
from lexor.training.samples import MAX_CLICKS, Sample, Subject
from lexor.training.search_samples import make_search_sample

WINDOW = (12, 24, 24)


def ball(radius: float = 6) -> np.ndarray:
    z, y, x = np.ogrid[:20, :40, :40]
    return (z - 9) ** 2 + (y - 18) ** 2 + (x - 22) ** 2 <= radius**2


def searched(seed: int, mask: np.ndarray) -> Sample:
    subject = Subject(np.where(mask, 200, 50).astype(np.uint8), [mask])
    sample = make_search_sample(subject, 0, WINDOW, 0.0, np.random.default_rng(seed))
    assert sample is not None
    return sample


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_clicks_tell_the_truth_and_the_box_does_not(seed: int) -> None:
    """The first click is in the target's middle; the box is around it, or measured on the mask that comes along."""
    sample = searched(seed, ball())
    assert sample.learnt
    assert sample.image.shape == sample.target.shape == sample.previous.shape == (1, *WINDOW)
    assert 1 <= len(sample.points) <= MAX_CLICKS
    assert sample.labels[0] == 1
    z, y, x = (min(max(round(at), 0), size - 1) for at, size in zip(sample.points[0], WINDOW, strict=True))
    assert float(sample.target[0, z, y, x]) > 0.9
    low, high = sample.box[:3], sample.box[3:]
    assert (high > low).all()
    found = torch.nonzero(sample.previous[0] > 0)
    if len(found):
        # Along z the box is that of the whole mask; a voxel of the volume is up to one and a half of the window.
        assert float(found[:, 0].min()) >= low[0] - 1.5
        assert float(found[:, 0].max() + 1) <= high[0] + 1.5
    elif not sample.previous.any():
        point = torch.tensor(sample.points[0]) + 0.5
        assert ((point >= low) & (point <= high)).all()


def test_guesses_and_wrong_masks_are_too_small_and_too_large() -> None:
    mask = ball()
    samples = [searched(seed, mask) for seed in range(80)]
    closer = [s for s in samples if s.previous.any()]
    guessed = [s for s in samples if not s.previous.any()]
    assert len(closer) > 25
    assert len(guessed) > 15
    masks = [float((s.previous > 0).sum() / s.target.sum()) for s in closer]
    widths = [float((s.box[5] - s.box[2]) / (s.target[0] > 0.5).any(0).any(0).sum()) for s in guessed]
    for ratios in (masks, widths):
        assert np.quantile(ratios, 0.1) < 0.8
        assert np.quantile(ratios, 0.9) > 1.5


def test_a_target_too_thin_to_be_seen_gives_no_sample() -> None:
    thin = np.zeros((20, 200, 200), bool)
    thin[4, 10:190, 100] = thin[16, 100, 10:190] = True
    subject = Subject(np.where(thin, 200, 50).astype(np.uint8), [thin])
    assert make_search_sample(subject, 0, WINDOW, 0.0, np.random.default_rng(0)) is None


def test_other_targets_are_clicked_as_background() -> None:
    mask, other = ball(), np.zeros((20, 40, 40), bool)
    other[6:12, 14:22, 30:36] = True
    subject = Subject(np.where(mask, 200, 50).astype(np.uint8), [mask, other & ~mask])
    plain, clicked = (
        [make_search_sample(subject, 0, WINDOW, share, np.random.default_rng(seed)) for seed in range(20)]
        for share in (0.0, 1.0)
    )
    more = [
        len(b.points) - len(a.points)
        for a, b in zip(plain, clicked, strict=True)
        if a is not None and b is not None
    ]
    assert np.mean([n > 0 for n in more]) > 0.5


def test_a_mix_has_searches() -> None:
    mask = ball()
    subject = Subject(np.where(mask, 200, 50).astype(np.uint8), [mask])
    samples = [make_sample(subject, 0, WINDOW, Mix(searched=1), np.random.default_rng(s)) for s in range(10)]
    for sample in samples:
        assert sample is not None
        # Only the search has both in every sample.
        assert sample.points
        assert torch.isfinite(sample.box).all()
