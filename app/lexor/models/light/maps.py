"""Prompts as full-resolution maps: what the light family sees beside the image.

Late tokens learn slowly from few samples; maps the encoder sees from its first layer learn several times as
fast. All maps are computed on the window, in float32, without gradients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lexor.models.window_prompts import WindowPrompts

CHANNELS = 11
BINS = 48
EM_ROUNDS = 2
COUNT_UNIT = 65536
LIKELIHOOD_LIMIT = 3.0
PRIOR_SHARPNESS = 4.0
# Spread of a click, in window voxels (sharp) and as a fraction of the window's axes (wide).
CLICK_SIGMA = 2.0
CLICK_FRACTION = 0.15


def elliptic_depth(boxes: Float[Tensor, "P 6"], shape: tuple[int, int, int]) -> Float[Tensor, "P d h w"]:
    """1 - r, with r the elliptic radius in the box: 1 at its centre, 0 on the inscribed ellipsoid."""
    square = torch.zeros(1, 1, 1, 1, device=boxes.device)
    for axis, size in enumerate(shape):
        lower, upper = boxes[:, axis, None], boxes[:, axis + 3, None]
        centre = torch.arange(size, device=boxes.device) + 0.5
        distance = (centre - (lower + upper) / 2) / ((upper - lower) / 2).clamp(min=0.5)
        view = [len(boxes), 1, 1, 1]
        view[axis + 1] = size
        square = square + distance.square().view(view)
    return 1 - square.sqrt()


def box_mask(boxes: Float[Tensor, "P 6"], shape: tuple[int, int, int]) -> Float[Tensor, "P d h w"]:
    """The share of each voxel that the box covers, 0..1."""
    mask = torch.ones(1, 1, 1, 1, device=boxes.device)
    for axis, size in enumerate(shape):
        voxel = torch.arange(size, device=boxes.device)
        cover = torch.minimum(boxes[:, axis + 3, None], voxel + 1) - torch.maximum(
            boxes[:, axis, None], voxel
        )
        view = [len(boxes), 1, 1, 1]
        view[axis + 1] = size
        mask = mask * cover.clamp(0, 1).view(view)
    return mask


def click_maps(prompts: WindowPrompts, shape: tuple[int, int, int]) -> Float[Tensor, "P 4 d h w"]:
    """The largest Gaussian over the clicks of each kind: foreground sharp, background sharp, wide, wide."""
    points, labels = prompts.points, prompts.labels[:, :, None, None, None]
    exponents = torch.full((len(points), 4, *shape), torch.inf, device=points.device)
    # One click after another: a case of many classes has hundreds, which take gigabytes side by side.
    for n in range(points.shape[1]):
        for index, wide in ((0, False), (2, True)):
            exponent = torch.zeros(1, 1, 1, 1, device=points.device)
            for axis, size in enumerate(shape):
                sigma = max(CLICK_SIGMA, CLICK_FRACTION * size) if wide else CLICK_SIGMA
                position = torch.arange(size, device=points.device)
                square = ((position - points[:, n, axis, None]) / sigma).square() / 2
                view = [len(points), 1, 1, 1]
                view[axis + 1] = size
                exponent = exponent + square.view(view)
            for kind, label in ((0, 1), (1, 0)):
                of_kind = torch.where(labels[:, n] == label, exponent, torch.inf)
                exponents[:, index + kind] = torch.minimum(exponents[:, index + kind], of_kind)
    return torch.exp(-exponents)


def likelihood_ratio(
    image: Float[Tensor, "P d h w"], prior: Float[Tensor, "P d h w"]
) -> Float[Tensor, "P d h w"]:
    """log p(intensity | inside) / p(intensity | outside), inside as the prior logits say, then two EM rounds."""
    count = len(image)
    bins = ((image.clamp(-3, 3) + 3) * ((BINS - 1) / 6)).round().long().flatten(1)
    flat_prior = prior.flatten(1)
    kernel = torch.exp(-torch.arange(-4, 5, device=image.device).float().square() / (2 * 1.5**2))
    kernel = (kernel / kernel.sum())[None, None]
    ratio = torch.zeros_like(flat_prior)
    for _ in range(1 + EM_ROUNDS):
        inside = torch.sigmoid(flat_prior + ratio)
        histograms = []
        for weight in (inside, 1 - inside):
            # Whole numbers add up to the same sum in any order: a GPU's answer is the same each time.
            counts = (weight * COUNT_UNIT).round().long()
            histogram = torch.zeros(count, BINS, dtype=torch.int64, device=image.device)
            histogram = histogram.scatter_add_(1, bins, counts).float() / COUNT_UNIT
            histogram = F.conv1d(F.pad(histogram[:, None], (4, 4), mode="replicate"), kernel)[:, 0]
            # A few pseudo-counts keep rare intensities from shouting.
            histogram = histogram + 0.002 * histogram.sum(1, keepdim=True) + 0.5
            histograms.append(histogram / histogram.sum(1, keepdim=True))
        log_ratio = (histograms[0] / histograms[1]).log().clamp(-LIKELIHOOD_LIMIT, LIKELIHOOD_LIMIT)
        ratio = log_ratio.gather(1, bins)
    return ratio.view_as(image)


def smooth(image: Float[Tensor, "P d h w"]) -> Float[Tensor, "P d h w"]:
    """Two passes of a mean over 3x3x3 voxels, edges repeated."""
    x = image[:, None]
    for _ in range(2):
        for axis, kernel in enumerate(((3, 1, 1), (1, 3, 1), (1, 1, 3))):
            if x.shape[axis + 2] < 3:  # too thin to pool
                continue
            padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
            x = F.avg_pool3d(x, kernel, 1, padding, count_include_pad=False)
    return x[:, 0]


@torch.no_grad()
def prompt_maps(
    image: Float[Tensor, "P d h w"], prompts: WindowPrompts
) -> tuple[Float[Tensor, "P 11 d h w"], Float[Tensor, "P 3 d h w"]]:
    """The encoder's prompt channels, and the three maps whose weighted sum is the logit's starting point.

    Channels: box, elliptic depth, signed distance from the measured slice, likelihood ratio of the image and
    of the smoothed image, clicks (foreground and background, sharp then wide), previous mask, whether there is
    a previous mask. Starting point: shape prior (the previous mask where there is one, else the ellipsoid),
    likelihood ratio, wide clicks.
    """
    shape = (image.shape[1], image.shape[2], image.shape[3])
    image = image.float()
    has_box = prompts.has_box
    whole = prompts.boxes.new_tensor([0, 0, 0, *shape]).expand_as(prompts.boxes)
    boxes = torch.where(has_box[:, None], prompts.boxes, whole)
    known = has_box.float()[:, None, None, None]

    clicks = click_maps(prompts, shape)
    depth = elliptic_depth(boxes, shape).clamp(-1.5, 1)
    # Without a box the inside is where the foreground clicks are, less where the background ones are.
    click_prior = 2 * clicks[:, 2] - clicks[:, 3] - 0.75
    prior = torch.where(known > 0, depth, click_prior)
    cover = box_mask(boxes, shape) * known

    half = ((boxes[:, 3] - boxes[:, 0]) / 2).clamp(min=0.5)
    z_mid = torch.where(has_box, prompts.z_mid.nan_to_num(), torch.zeros_like(half))
    z = torch.arange(shape[0], device=image.device)
    slice_distance = ((z - z_mid[:, None]) / half[:, None]).clamp(-2, 2)[:, :, None, None] * known

    if prompts.previous is None:
        previous = torch.zeros_like(image)
        has_previous = torch.zeros_like(known)
    else:
        previous = prompts.previous[:, 0].float().clamp(-6, 6)
        has_previous = (previous.abs().amax((1, 2, 3), keepdim=True) > 0).float()
    shape_prior = torch.where(has_previous > 0, previous / PRIOR_SHARPNESS * 0.7, prior)

    start = PRIOR_SHARPNESS * shape_prior
    ratio = likelihood_ratio(image, start)
    smooth_ratio = likelihood_ratio(smooth(image), start)
    maps = torch.stack(
        [
            cover,
            prior,
            slice_distance.expand_as(image),
            ratio,
            smooth_ratio,
            *clicks.unbind(1),
            torch.tanh(previous / 2),
            has_previous.expand_as(image),
        ],
        dim=1,
    )
    return maps, torch.stack([shape_prior, smooth_ratio, clicks[:, 2] - clicks[:, 3]], dim=1)
