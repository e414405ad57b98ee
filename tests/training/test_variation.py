import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lexor.training import variation
from lexor.training.labelled import as_subject
from lexor.training.samples import Subject
from lexor.training.variation import varied

SHAPE = (24, 64, 64)


def case(ratio: float = 2.0) -> Subject:
    """A bright ball, label 2, that touches a brick, label 5, in a dark volume."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:16, 20:28, 30:50] = 5
    labels[(z - 11) ** 2 * ratio**2 + (y - 32) ** 2 + (x - 36) ** 2 <= 8**2] = 2
    image = np.choose(labels % 4, [40, 120, 200, 0]).astype(np.uint8)
    return as_subject("CT_test_0", image, labels, ratio)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_image_and_mask_stay_together(seed: int) -> None:
    """Where the grey values are not changed, the mask is where the values are that it had."""
    subject = case()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variation, "STRETCHED", 0.0)
        patch.setattr(variation, "SHUFFLED", 0.0)
        other, target = varied(subject, 0, np.random.default_rng(seed))
    mask = other.targets[target]
    assert other.image.dtype == np.uint8
    assert other.image.shape == mask.shape
    assert (other.ratio, other.group) == (subject.ratio, "CT_test")
    inner = ndimage.binary_erosion(mask)
    # Of 200, 120 and 40; at the surface they are mixed.
    assert (other.image[inner] > 160).mean() > 0.9
    outer = ~np.any([ndimage.binary_dilation(m) for m in other.targets], axis=0)
    assert (other.image[outer] < 80).mean() > 0.95
    # Bent and slanted, it is about as large as it was, and not in pieces.
    assert 0.4 < mask.sum() / subject.targets[0].sum() < 2
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert np.bincount(parts.ravel())[1:].max() > 0.95 * mask.sum(), count


def test_shapes_and_looks_differ_and_are_reproducible() -> None:
    subject = case()
    made = [varied(subject, 1, np.random.default_rng(seed)) for seed in range(12)]
    again = [varied(subject, 1, np.random.default_rng(seed)) for seed in range(12)]
    for (one, target), (other, same) in zip(made, again, strict=True):
        assert target == same
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.targets[target], other.targets[target])
    widths = [np.ptp(np.nonzero(one.targets[target])[1]) for one, target in made]
    assert max(widths) > 1.4 * min(widths)
    values = {int(np.median(one.image[one.targets[target]])) for one, target in made}
    assert len(values) > 3
    assert int(np.median(subject.image[subject.targets[1]])) in values


def test_the_surroundings_are_kept_and_no_more() -> None:
    image, labels = np.zeros((30, 200, 200), np.uint8), np.zeros((30, 200, 200), np.uint8)
    labels[10:14, 100:104, 4:8] = 1
    other, _ = varied(as_subject("CT_test_0", image, labels, 1.0), 0, np.random.default_rng(1))
    # 12 voxels on each side, and what of them there is.
    assert other.image.shape == (26, 28, 20)


def test_a_target_that_would_be_lost_and_masks_without_labels_stay_as_they_are() -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 4] = 1
    lone = as_subject("CT_test_0", labels * 9, labels, 1.0)
    for seed in range(30):
        other, target = varied(lone, 0, np.random.default_rng(seed))
        assert other.targets[target].any()
    scene = Subject(labels, [labels > 0])
    assert varied(scene, 0, np.random.default_rng(0)) == (scene, 0)
