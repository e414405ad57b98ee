import numpy as np
import pytest

from lexor.training.synthetic import STYLES, make_scene, smooth_noise


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_has_visible_targets(style: str) -> None:
    scene = make_scene(np.random.default_rng(3), (20, 64, 64), style)
    assert scene.image.dtype == np.uint8
    assert scene.image.shape == (20, 64, 64)
    assert scene.style == style
    assert scene.image.std() > 5
    for target in scene.targets:
        assert target.dtype == bool
        assert 20 <= target.sum() <= target.size / 2


def test_the_same_seed_gives_the_same_scene() -> None:
    first, second, other = (make_scene(np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, second.image)
    assert len(first.targets) == len(second.targets)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_smooth_noise_is_smooth_and_centred() -> None:
    field = smooth_noise((16, 64, 64), 4, np.random.default_rng(0))
    assert field.shape == (16, 64, 64)
    assert abs(float(field.mean())) < 1
    assert float(field.diff(dim=2).abs().mean()) < 0.2 * float(field.std())
