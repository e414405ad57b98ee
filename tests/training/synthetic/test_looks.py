import numpy as np
import pytest
import torch

from lexor.training.synthetic.artefacts import artefacts
from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.fields import Grid
from lexor.training.synthetic.looks import STYLES, finish, render, tissue_means
from lexor.training.synthetic.palettes import HU, PET, US
from lexor.training.synthetic.shapes import ellipsoid


def ball(kind: str, around: str, seed: int = 0) -> tuple[Canvas, torch.Tensor]:
    canvas = Canvas(Grid((12, 48, 48)), np.random.default_rng(seed))
    canvas.fill(around)
    patch = ellipsoid(canvas.grid, canvas.grid.extent / 2, np.array([6.0, 12, 12]), canvas.rng, 0.0, 0.0)
    canvas.paint(patch, kind)
    return canvas, patch.full(canvas.grid)


def looks(style: str, kind: str, around: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    out = []
    for seed in range(16):
        canvas, mask = ball(kind, around, seed)
        out.append((render(canvas, canvas.tissue, style, np.random.default_rng(seed), 1.0), mask))
    return out


@pytest.mark.parametrize("style", STYLES)
def test_a_rendering_is_finite_and_of_the_tissues_shape(style: str) -> None:
    for image, _ in looks(style, "organ", "fat"):
        assert image.shape == (12, 48, 48)
        assert bool(torch.isfinite(image).all())


@pytest.mark.parametrize(
    ("style", "bright", "dark"), [("CT", "bone", "fat"), ("PET", "hot", "soft"), ("US", "wall", "fluid")]
)
def test_the_palette_orders_tissues_in_most_scenes(style: str, bright: str, dark: str) -> None:
    brighter = [bool(image[mask].mean() > image[~mask].mean()) for image, mask in looks(style, bright, dark)]
    assert np.mean(brighter) > 0.75


def sharpness(style: str) -> float:
    """Median over scenes of the steepest mid-slice step, as a share of the image's range."""
    kind, around = {"CT": ("bone", "fat"), "PET": ("hot", "fat")}[style]
    steps = []
    for image, _ in looks(style, kind, around):
        line = image[6, 20:28].mean(0)
        steps.append(float(line.diff().abs().max() / (line.max() - line.min() + 1e-6)))
    return float(np.median(steps))


def test_pet_is_blurrier_than_ct() -> None:
    assert sharpness("PET") < 0.6 * sharpness("CT")


def test_ct_windows_clip_bone_and_air() -> None:
    images = [image for image, _ in looks("CT", "bone", "air")]
    assert all(0 <= float(image.min()) <= float(image.max()) <= 1 for image in images)
    assert np.median([float(((image == 0) | (image == 1)).float().mean()) for image in images]) > 0.4


def test_ultrasound_is_grainier_than_mr() -> None:
    def grain(style: str) -> float:
        values = []
        for image, _ in looks(style, "organ", "organ"):
            local = image - torch.nn.functional.avg_pool3d(image[None, None], (1, 5, 5), 1, (0, 2, 2))[0, 0]
            values.append(float(local[:, 4:-4, 4:-4].std() / image.abs().mean()))
        return float(np.mean(values))

    assert grain("US") > 1.3 * grain("MR")


def test_painted_alike_means_of_one_intensity() -> None:
    canvas, _ = ball("organ", "organ")
    canvas.like[2] = 1
    for seed in range(20):
        means = tissue_means(canvas, np.random.default_rng(seed), lambda kind: 0.5, 0, 1)
        assert means[1] == means[2]
    canvas.like[2] = 2
    rng = np.random.default_rng(0)
    apart = tissue_means(canvas, rng, lambda kind: float(rng.normal()), 0, 1)
    assert apart[1] != apart[2]


def test_finish_fills_the_range_and_refuses_flat_images() -> None:
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 32, 32)).astype(np.float32))
    done = finish(image, "MR", np.random.default_rng(1))
    assert done is not None
    assert done.dtype == torch.uint8
    assert int(done.min()) == 0
    assert int(done.max()) == 255
    assert finish(torch.full((8, 32, 32), 0.5), "CT", np.random.default_rng(1)) is None


def test_artefacts_are_rare_and_keep_the_shape() -> None:
    image = torch.rand(6, 24, 24)
    changed = [
        not torch.equal(artefacts(image, np.random.default_rng(seed), 0.3), image) for seed in range(200)
    ]
    assert 0.1 < np.mean(changed) < 0.45


def test_palettes_are_in_their_units() -> None:
    assert HU["air"][0] < HU["lung"][0] < HU["fat"][0] < HU["fluid"][0] < HU["muscle"][0] < HU["bone"][0]
    assert PET["hot"][0] > 4 * PET["soft"][0]
    assert US["fluid"][0] < 0.1 < US["wall"][0]
