import numpy as np
import pytest
import torch
from scipy import ndimage

from lexor.training.synthetic.fields import Grid, blur, smooth_noise, white_noise


def test_smooth_noise_is_smooth_and_centred() -> None:
    field = smooth_noise((16, 64, 64), 4, np.random.default_rng(0))
    assert field.shape == (16, 64, 64)
    assert abs(float(field.mean())) < 1
    assert float(field.diff(dim=2).abs().mean()) < 0.2 * float(field.std())


def test_smooth_noise_has_unit_variance_at_every_voxel() -> None:
    fields = torch.stack([smooth_noise((4, 7, 9), 5, np.random.default_rng(i)) for i in range(400)])
    spread = fields.std(0)
    assert float(spread.min()) > 0.82
    assert float(spread.max()) < 1.18


def test_bumps_are_round_in_physical_units() -> None:
    field = smooth_noise((40, 40, 40), 6, np.random.default_rng(1), scale=(4.0, 1.0, 1.0))
    steps = [float(field.diff(dim=axis).abs().mean()) for axis in range(3)]
    assert steps[0] / steps[2] == pytest.approx(4, rel=0.35)
    assert steps[1] / steps[2] == pytest.approx(1, rel=0.35)


@pytest.mark.parametrize("sigma", [(1.0, 2.0, 0.7), (0.0, 0.0, 3.0), (6.0, 0.5, 0.5)])
def test_blur_is_scipys_gaussian(sigma: tuple[float, float, float]) -> None:
    image = np.random.default_rng(0).standard_normal((7, 20, 30)).astype(np.float32)
    expected = ndimage.gaussian_filter(image, sigma, mode="nearest", radius=[int(3 * s + 0.5) for s in sigma])
    np.testing.assert_allclose(blur(torch.from_numpy(image), sigma).numpy(), expected, atol=1e-5)


def test_white_noise_depends_on_the_generator_alone() -> None:
    first, second, third = (white_noise((4, 5, 6), np.random.default_rng(i)) for i in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_window_covers_its_bounds_and_stays_in_the_grid() -> None:
    grid = Grid((10, 20, 30), (2.0, 1.0, 1.0))
    assert grid.window(np.array([4.0, 3, -5]), np.array([8.0, 6, 3])) == (
        slice(2, 5),
        slice(3, 7),
        slice(0, 4),
    )
    empty = grid.window(np.array([0.0, 50, 0]), np.array([5.0, 60, 5]))
    assert empty[1].start == empty[1].stop == 20
    z, y, x = grid.axes((slice(2, 5), slice(3, 7), slice(0, 4)))
    assert z.flatten().tolist() == [4, 6, 8]
    assert y.flatten().tolist() == [3, 4, 5, 6]
    assert x.shape == (1, 1, 4)
