"""How a tissue map looks to a modality: intensities per tissue, texture, blur, noise, artefacts.

A palette gives each kind of tissue a mean in the modality's own terms; about one scene in five forgets it and draws
means at random. Rendering returns intensities in arbitrary units; CT is windowed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lexor.geometry import Shape
from lexor.training.synthetic.artefacts import artefacts
from lexor.training.synthetic.canvas import Canvas
from lexor.training.synthetic.fields import blur, smooth_noise, white_noise
from lexor.training.synthetic.palettes import HU, MICROSCOPY, MR, PET, US

Rng = np.random.Generator


def tissue_means(c: Canvas, rng: Rng, draw: Callable[[str], float], low: float, high: float) -> np.ndarray:
    """One mean per tissue; those painted alike share it."""
    if rng.random() < 0.22:
        spread = rng.uniform(0.08, 0.4)
        means = np.array([np.clip(rng.normal(0.5, spread), 0, 1) for _ in c.kinds]) * (high - low) + low
        if rng.random() < 0.8:
            means[0] = low
    else:
        means = np.array([draw(kind) for kind in c.kinds])
    shared: np.ndarray = means[np.array(c.like)]
    return shared.astype(np.float32)


def _look_up(values: np.ndarray, tissue: Tensor) -> Tensor:
    table = torch.from_numpy(values.astype(np.float32)).to(tissue.device)
    return table.index_select(0, tissue.flatten()).view(tissue.shape)


def _lines(c: Canvas, tissue: Tensor) -> Tensor | None:
    """1 on the border voxels of outlined tissues, 0 elsewhere."""
    if not any(c.outlined):
        return None
    marked = _look_up(np.array(c.outlined), tissue)
    out = torch.zeros_like(marked)
    for axis in (1, 2):
        one = tissue.narrow(axis, 1, tissue.shape[axis] - 1)
        other = tissue.narrow(axis, 0, tissue.shape[axis] - 1)
        differ = (one != other) * torch.maximum(
            marked.narrow(axis, 1, marked.shape[axis] - 1), marked.narrow(axis, 0, marked.shape[axis] - 1)
        )
        target = out.narrow(axis, 1, marked.shape[axis] - 1)
        torch.maximum(target, differ, out=target)
    return out


def _shape(tissue: Tensor) -> Shape:
    return tissue.shape[0], tissue.shape[1], tissue.shape[2]


def _texture(c: Canvas, image: Tensor, tissue: Tensor, rng: Rng, strength: float, ratio: float) -> Tensor:
    """Adds smooth texture whose strength differs between tissues; tumours are the least even."""
    count = len(c.kinds)
    rough = np.array([2.5 if kind in ("lesion", "hot", "necrosis") else 1.0 for kind in c.kinds])
    weights = _look_up(rough * rng.uniform(0, strength, count) * (rng.random(count) < 0.7), tissue)
    return image + weights * smooth_noise(
        _shape(tissue), rng.uniform(5, 40), rng, (ratio, 1, 1), image.device
    )


def _noise(tissue: Tensor, rng: Rng, device: torch.device) -> Tensor:
    """Unit noise: white, or correlated as a reconstruction leaves it, sometimes in one direction."""
    noise = white_noise(_shape(tissue), rng, device)
    if rng.random() < 0.65:
        s = rng.uniform(0.4, 1.3)
        noise = blur(noise, (s * rng.uniform(0, 0.8), s * rng.uniform(0.5, 1.2), s * rng.uniform(0.5, 2)))
        noise = noise / noise[:, ::3].std(correction=0)
    return noise


def _soften(image: Tensor, rng: Rng, low: float, high: float) -> Tensor:
    """Partial volume: a small blur."""
    s = rng.uniform(low, high)
    return blur(image, (s * rng.uniform(0.3, 1.0), s, s))


def _window(c: Canvas, rng: Rng) -> tuple[float, float]:
    """Centre and width of a window that the scene's content would be read in."""
    windows = [(40.0, 400.0)] * 4 + [(50.0, 350.0), (60.0, 250.0), (-100.0, 1000.0)]
    if "grey" in c.kinds:
        windows += [(36.0, 90.0)] * 6
    if "lung" in c.kinds:
        windows += [(-600.0, 1500.0)] * 4
    if "bone" in c.kinds:
        windows += [(400.0, 1800.0)]
    centre, width = windows[int(rng.integers(len(windows)))]
    return centre + rng.normal(0, 0.05 * width), width * float(np.exp(rng.normal(0, 0.2)))


def _ct(c: Canvas, tissue: Tensor, rng: Rng, ratio: float) -> Tensor:
    contrast = rng.uniform(0, 1.8)

    def draw(kind: str) -> float:
        mean, spread = HU.get(kind, (rng.uniform(-50, 120), 20))
        if kind == "other":
            mean = float(
                rng.choice([rng.uniform(-120, 150), rng.uniform(0, 100), 700, -900], p=[0.4, 0.4, 0.12, 0.08])
            )
        if kind in ("blood", "vessel"):
            mean = 40 + contrast * (mean - 40)
        return float(rng.normal(mean, spread))

    centre, width = _window(c, rng)
    image = _look_up(tissue_means(c, rng, draw, centre - width / 2, centre + width / 2), tissue)
    lines = _lines(c, tissue)
    if lines is not None:
        image = image + lines * float(rng.choice([-1, -1, 1])) * rng.uniform(10, 80)
    image = _texture(c, image, tissue, rng, 0.04 * width, ratio)
    image = _soften(image, rng, 0.2, 0.9)
    noise = float(np.exp(rng.normal(2.6, 0.7)))
    image = image + min(max(noise, 0.005 * width), 0.16 * width) * _noise(tissue, rng, image.device)
    if rng.random() < 0.25:  # a sharp kernel overshoots at edges
        image = image + rng.uniform(0.3, 1.2) * (image - blur(image, (0, 1.2, 1.2)))
    image = artefacts(image, rng, 0.2 * width)
    return ((image - (centre - width / 2)) / width).clamp(0, 1)


def _mr(c: Canvas, tissue: Tensor, rng: Rng, ratio: float) -> Tensor:
    palette = MR[str(rng.choice(list(MR)))]
    saturated = rng.random() < 0.2
    spread = rng.uniform(0.02, 0.12)

    def draw(kind: str) -> float:
        if kind in ("outside", "air", "lung"):
            return 0.0 if kind != "lung" else abs(float(rng.normal(0.05, 0.03)))
        if kind == "fat" and saturated:
            return abs(float(rng.normal(0.1, 0.04)))
        return abs(float(rng.normal(palette.get(kind, rng.uniform(0, 1)), spread)))

    image = _look_up(tissue_means(c, rng, draw, 0, 1), tissue)
    lines = _lines(c, tissue)
    if lines is not None:
        image = image + lines * rng.uniform(-0.2, 0.3)
    image = _texture(c, image, tissue, rng, 0.12, ratio)
    image = _soften(image, rng, 0.2, 1.1)
    if rng.random() < 0.15:
        image = _soften(image, rng, 1.0, 2.0)
    bias = rng.uniform(0, 0.45) * smooth_noise(
        _shape(tissue), rng.uniform(1, 3), rng, (ratio, 1, 1), image.device
    )
    image = image * torch.exp(bias)
    if rng.random() < 0.15:  # a surface coil
        fade = torch.linspace(0, 1, tissue.shape[1], device=image.device)[None, :, None]
        image = image * torch.exp(-rng.uniform(0.5, 2) * fade)
    sigma = float(np.exp(rng.uniform(np.log(0.004), np.log(0.09))))
    noise = _noise(tissue, rng, image.device)
    if rng.random() < 0.6:  # magnitude images: Rician
        image = ((image + sigma * noise).square() + (sigma * noise.roll((5, 7), (1, 2))).square()).sqrt()
    else:
        image = image + sigma * noise
    return artefacts(image, rng, float(image[::2, ::2, ::2].std(correction=0)))


def _pet(c: Canvas, tissue: Tensor, rng: Rng, ratio: float) -> Tensor:
    def draw(kind: str) -> float:
        mean, spread = PET.get(kind, (0.15, 0.12))
        if kind == "other":
            mean = rng.uniform(0.3, 1) if rng.random() < 0.3 else 0.15
        return abs(float(rng.normal(mean, spread))) if kind != "outside" else rng.uniform(0, 0.02)

    image = _look_up(tissue_means(c, rng, draw, 0, 1), tissue)
    texture = smooth_noise(_shape(tissue), rng.uniform(6, 25), rng, (ratio, 1, 1), image.device)
    image = image * (1 + rng.uniform(0, 0.4) * texture).clamp(min=0.1)
    s = rng.uniform(0.9, 2.2)
    image = blur(image, (max(s / ratio, 0.5), s, s))
    grain = rng.uniform(0.5, 1.1)
    noise = blur(white_noise(_shape(tissue), rng, image.device), (grain * 0.7, grain, grain))
    noise = noise / noise[:, ::3].std(correction=0)
    image = (image + (rng.uniform(0.02, 0.12) * (image.clamp(min=0) + 0.01).sqrt() * 0.6) * noise).clamp(
        min=0
    )
    if rng.random() < 0.5:  # shown up to a chosen uptake
        image = image.clamp(
            max=float(np.quantile(image.cpu().numpy()[::2, ::2, ::2], rng.uniform(0.92, 0.999)))
        )
    return image


def _us(c: Canvas, tissue: Tensor, rng: Rng, ratio: float) -> Tensor:
    shape, device = _shape(tissue), tissue.device

    def draw(kind: str) -> float:
        mean, spread = US.get(kind, (rng.uniform(0.05, 0.7), 0.1))
        return max(float(rng.normal(mean, spread)), 0.005)

    image = _look_up(tissue_means(c, rng, draw, 0.01, 1), tissue)
    lines = _lines(c, tissue)
    if lines is not None:
        image = image + lines * rng.uniform(0, 0.5) * smooth_noise(shape, 4, rng, device=device).clamp(min=0)
    image = _texture(c, image, tissue, rng, 0.1, ratio).clamp(min=0.003)
    depth = torch.linspace(0, 1, shape[1], device=device)[None, :, None]
    hard = [k in ("bone", "air", "lung") for k in c.kinds]
    if any(hard) and rng.random() < 0.8:  # little comes back from behind bone and gas
        walls = _look_up(np.array(hard), tissue)
        left = rng.uniform(0.05, 0.5) if float(walls.mean()) < 0.12 else rng.uniform(0.4, 0.9)
        image = image * (
            left + (1 - left) * torch.exp(-rng.uniform(0.1, 0.6) * (walls.cumsum(1) - 2).clamp(min=0))
        )
    if rng.random() < 0.6:  # regions that answer more or less, whatever they are
        image = image * torch.exp(
            rng.uniform(0.1, 1.0) * smooth_noise(shape, rng.uniform(1.5, 5), rng, device=device)
        )
    if rng.random() < 0.3:  # the transducer's near field, at either end
        near = depth if rng.random() < 0.5 else 1 - depth
        image = image + rng.uniform(0.2, 1.2) * torch.exp(-((near / rng.uniform(0.1, 0.4)) ** 2))
    smooth = rng.random() < 0.35
    s = rng.uniform(1.0, 3.0) if smooth else rng.uniform(0.3, 1.0)
    image = blur(image, (s / max(1.0, ratio * 0.7), s, s))
    if not smooth or rng.random() < 0.3:
        grain = (rng.uniform(0.3, 1.0), rng.uniform(0.4, 1.6), rng.uniform(0.5, 2.4))
        waves = [blur(white_noise(shape, rng, device), grain) for _ in range(2)]
        speckle = (waves[0].square() + waves[1].square()).sqrt()
        image = image * (speckle / speckle.mean()).pow(rng.uniform(0.3, 1.1))
    image = image * torch.exp(-rng.uniform(0, 1.5) * depth)
    if rng.random() < 0.4:
        lateral = smooth_noise((1, 1, shape[2]), rng.uniform(3, 9), rng, device=device)
        edge = torch.sigmoid((depth - rng.uniform(-0.1, 0.5)) * rng.uniform(8, 30))
        image = image * (1 - rng.uniform(0.4, 0.95) * torch.sigmoid(7 * (lateral - 0.8)) * edge)
    image = torch.log1p(image.clamp(min=0) * rng.uniform(1, 25))
    if rng.random() < 0.4:
        image = image + rng.uniform(0, 0.03) * float(image.max()) * white_noise(shape, rng, device)
    if rng.random() < 0.5:  # the fan, from above or below
        y = torch.linspace(rng.uniform(0.02, 0.4), 1, shape[1], device=device)[None, :, None]
        y = y.flip(1) if rng.random() < 0.4 else y
        x = torch.linspace(-1, 1, shape[2], device=device)[None, None, :] - rng.uniform(-0.2, 0.2)
        fan = (
            (x.abs() < y * rng.uniform(0.7, 1.8)) & (x.square() + y.square() < rng.uniform(1.0, 1.8))
        ).float()
        image = image * (blur(fan, (0, 2.5, 2.5)) if smooth else fan)
    return image


def _microscopy(c: Canvas, tissue: Tensor, rng: Rng, ratio: float) -> Tensor:
    shape, device = _shape(tissue), tissue.device
    stain = str(rng.choice(list(MICROSCOPY)))
    palette = MICROSCOPY[stain]

    def draw(kind: str) -> float:
        mean, spread = palette.get(kind, (rng.uniform(0, 1), 0.1))
        return abs(float(rng.normal(mean, spread)))

    image = _look_up(tissue_means(c, rng, draw, 0, 1), tissue)
    lines = _lines(c, tissue)
    if lines is not None:
        strength = {"electron": rng.uniform(-0.7, -0.2), "membrane stain": rng.uniform(0.5, 1)}.get(
            stain, rng.uniform(-0.3, 0.4)
        )
        image = image + strength * lines
    image = _texture(c, image, tissue, rng, 0.25 if stain == "electron" else 0.15, ratio)
    if stain != "electron":  # uneven staining
        image = image * torch.exp(
            rng.uniform(0, 0.5) * smooth_noise(shape, rng.uniform(2, 8), rng, (ratio, 1, 1), device)
        )
    s = rng.uniform(0.3, 0.8) if stain == "electron" else rng.uniform(0.4, 1.5)
    image = blur(image, (s * rng.uniform(0.3, 2.5) / max(1.0, ratio**0.5), s, s))
    if rng.random() < 0.12:  # phase contrast: edges only
        image = rng.uniform(-0.3, 0.3) * image + rng.uniform(1, 3) * (image - blur(image, (0.5, 1.5, 1.5)))
    if stain != "electron" and rng.random() < 0.7:  # few photons
        image = image + rng.uniform(0.02, 0.2) * image.clamp(min=0).sqrt() * white_noise(shape, rng, device)
    image = image + rng.uniform(0.005, 0.08) * _noise(tissue, rng, device)
    return artefacts(image, rng, float(image[::2, ::2, ::2].std(correction=0)))


_STYLES: dict[str, Callable[[Canvas, Tensor, Rng, float], Tensor]] = {
    "CT": _ct,
    "MR": _mr,
    "PET": _pet,
    "US": _us,
    "Microscopy": _microscopy,
}
STYLES = tuple(_STYLES)


def render(c: Canvas, tissue: Tensor, style: str, rng: Rng, ratio: float) -> Tensor:
    """Intensities (D, H, W), arbitrary units, of a tissue map in the look of a modality.

    c: what the tissues are made of. tissue: its map, as the image is oriented. ratio: slice distance over pixel size.
    """
    return _STYLES[style](c, tissue, rng, ratio)


def finish(image: Tensor, style: str, rng: Rng) -> Tensor | None:
    """Polarity, window, gamma and quantisation to uint8; None where nothing is to be seen."""
    if rng.random() < (0.12 if style in ("MR", "Microscopy") else 0.03):
        image = -image
    if style == "CT" and rng.random() < 0.8:
        low, high = (0.0, 1.0) if float(image.max()) > 0 else (-1.0, 0.0)
    else:
        cut = 10 ** rng.uniform(-3.0, -1.5)
        low, high = (float(v) for v in np.quantile(image.cpu().numpy()[::2, ::2, ::2], [cut / 2, 1 - cut]))
    if high - low < 1e-3 or float(image[::2, ::2, ::2].std(correction=0)) < 0.015 * (high - low):
        return None
    image = ((image - low) / (high - low)).clamp(0, 1)
    if rng.random() < 0.4:
        image = image.pow(float(np.exp(rng.normal(0, 0.35))))
    if rng.random() < 0.08:  # few grey levels
        levels = float(rng.integers(12, 64))
        image = (image * levels).round() / levels
    return (image * 255).round().to(torch.uint8)
