import numpy as np
import pytest
import torch

from lexor.training.synthetic import STYLES, Scene, make_scene
from lexor.training.synthetic.canvas import MIN_VOXELS
from lexor.training.synthetic.scene import MAX_TARGETS, contrast


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_has_targets_of_a_fair_size(style: str) -> None:
    for seed in range(4):
        scene = make_scene(np.random.default_rng(seed), (20, 48, 52), style)
        assert scene.image.dtype == np.uint8
        assert scene.image.shape == (20, 48, 52)
        assert scene.style == style
        assert 1 <= scene.ratio <= 5
        assert scene.image.std() > 2
        assert 1 <= len(scene.targets) <= MAX_TARGETS
        for target in scene.targets:
            assert target.dtype == bool
            assert target.shape == scene.image.shape
            assert MIN_VOXELS <= target.sum() <= target.size / 2


def equal(one: Scene, other: Scene) -> bool:
    return (
        (one.style, one.ratio, one.image.shape) == (other.style, other.ratio, other.image.shape)
        and np.array_equal(one.image, other.image)
        and len(one.targets) == len(other.targets)
        and all(np.array_equal(a, b) for a, b in zip(one.targets, other.targets, strict=True))
    )


def test_the_same_seed_gives_the_same_scene_whatever_was_made_before() -> None:
    for seed in range(3):
        first = make_scene(np.random.default_rng(seed))
        torch.manual_seed(seed + 100)
        make_scene(np.random.default_rng(seed + 50))
        assert equal(first, make_scene(np.random.default_rng(seed)))
    assert not equal(make_scene(np.random.default_rng(1)), make_scene(np.random.default_rng(2)))


def test_a_generator_goes_on_to_another_scene() -> None:
    rng = np.random.default_rng(0)
    assert not equal(make_scene(rng), make_scene(rng))


def test_drawn_scenes_vary_in_style_anisotropy_and_the_size_of_targets() -> None:
    scenes = [make_scene(np.random.default_rng(seed)) for seed in range(40)]
    assert {scene.style for scene in scenes} == set(STYLES)
    ratios = np.array([scene.ratio for scene in scenes])
    assert (ratios == 1).mean() > 0.2
    assert ratios.max() > 3
    sizes = np.array([int(t.sum()) for scene in scenes for t in scene.targets])
    assert (sizes < 200).mean() > 0.08
    assert (sizes > 5000).mean() > 0.08
    shares = [t.mean() for scene in scenes for t in scene.targets]
    assert max(shares) > 0.15
    # Some are cut off by the field of view.
    borders = [bool(t[:, [0, -1]].any() or t[:, :, [0, -1]].any()) for scene in scenes for t in scene.targets]
    assert 0.05 < np.mean(borders) < 0.7
    # Nested targets overlap.
    overlapping = [np.sum(scene.targets, 0).max() > 1 for scene in scenes]
    assert np.mean(overlapping) > 0.2


def test_objects_are_flattened_by_the_anisotropy() -> None:
    """With slices four times as far apart, targets span fewer slices for their width."""

    def flatness(ratio: float) -> float:
        values = []
        for seed in range(10):
            scene = make_scene(np.random.default_rng(seed), (32, 48, 48), "MR", ratio=ratio)
            assert scene.ratio == ratio
            for target in scene.targets:
                lengths = [np.ptp(np.flatnonzero(target.any(o))) + 1 for o in ((1, 2), (0, 2), (0, 1))]
                if lengths[0] < 32:
                    values.append(lengths[0] / max(lengths[1:]))
        return float(np.median(values))

    assert flatness(4.0) < 0.6 * flatness(1.0)


def test_contrast_is_signed_and_zero_in_saturated_regions() -> None:
    mask = torch.zeros(9, 20, 20, dtype=torch.bool)
    mask[3:6, 8:12, 8:12] = True
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (9, 20, 20)))
    bright = (100 + 50 * mask + noise).to(torch.uint8)
    assert contrast(bright, mask) > 5
    assert contrast(255 - bright, mask) < -5
    assert abs(contrast((100 + noise).to(torch.uint8), mask)) < 0.3
    assert contrast(torch.full((9, 20, 20), 255, dtype=torch.uint8), mask) == 0


def test_most_targets_can_be_seen_but_not_all() -> None:
    seen = []
    for seed in range(20):
        scene = make_scene(np.random.default_rng(seed), (16, 48, 48), "MR")
        image = torch.from_numpy(scene.image)
        seen += [abs(contrast(image, torch.from_numpy(t))) > 0.15 for t in scene.targets]
    assert 0.75 < np.mean(seen) < 1


@pytest.mark.gpu
def test_scenes_are_made_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    for seed in range(20):
        scene = make_scene(np.random.default_rng(seed), device="cuda")
        assert equal(scene, make_scene(np.random.default_rng(seed), device="cuda"))
        assert all(MIN_VOXELS <= target.sum() <= target.size / 2 for target in scene.targets)
