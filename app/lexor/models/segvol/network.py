"""The SegVol framework: image encoder, prompt encoder and mask decoder (paper section 2.1)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Real
from torch import Tensor

from lexor.geometry import Shape
from lexor.models.encoders import Encoder, build_encoder
from lexor.models.encoders.vit import WINDOW
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.segvol.mask_decoder import MaskDecoder
from lexor.models.segvol.prompt_encoder import PromptEncoder
from lexor.models.segvol.transformer import TwoWayTransformer
from lexor.models.window_prompts import WindowPrompts

# Of the voxels above a window's mean; SegVol's `ForegroundNorm` clips there.
FOREGROUND_QUANTILES = (0.0005, 0.9995)


def foreground_scaled(image: Float[Tensor, "W 1 d h w"]) -> Float[Tensor, "W 1 d h w"]:
    """Windows in 0..1 as SegVol's weights were trained on: its foreground normalisation, then min-max.

    Both are linear between two bounds, the extreme quantiles of what is brighter than the mean, so that any
    linear scale of intensities gives the same. SegVol takes the bounds from the whole volume, which the first
    look is.
    """
    scaled = []
    for window in image.float():
        bright = window[window > window.mean()]
        if len(bright) == 0:  # a constant window
            scaled.append(torch.zeros_like(window))
            continue
        low, high = (bright.kthvalue(1 + round(q * (len(bright) - 1))).values for q in FOREGROUND_QUANTILES)
        clipped = window.clamp(low, high) - low
        scaled.append(clipped / (high - low).clamp(min=1e-8))
    return torch.stack(scaled)


class SegVolSegmenter(Segmenter):
    """Encodes an image once, decodes any number of prompts in it.

    Args:
        image_encoder: its coarsest map is what prompts attend to.
        window: (d, h, w) it is made for, a multiple of that map's stride; others work unless `published`.
        heads: attention heads of the two-way transformer.
        hidden: inner width of its MLP.
        published: compute what SegVol's code computes, for its published weights: its scale of intensities, its
            order of axes in positions, its layer norm over space, which ties the model to its window, and no
            mask prompts.

    Raises:
        ValueError: the window is no multiple of the encoder's stride.
    """

    zoom_out: Literal["volume", "object"] = "volume"

    def __init__(
        self,
        image_encoder: Encoder,
        window: Shape = WINDOW,
        *,
        heads: int = 8,
        hidden: int = 2048,
        published: bool = False,
    ) -> None:
        super().__init__()
        stride, width = image_encoder.strides[-1], image_encoder.widths[-1]
        if any(n % s for n, s in zip(window, stride, strict=True)):
            raise ValueError(f"window {window} is no multiple of the encoder's stride {stride}; change one")
        self.window = window
        self.published = published
        grid = (window[0] // stride[0], window[1] // stride[1], window[2] // stride[2])
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(width, published=published)
        self.mask_decoder = MaskDecoder(
            TwoWayTransformer(width, heads=heads, hidden=hidden),
            width,
            fixed_grid=grid if published else None,
        )

    def encode(self, image: Float[Tensor, "W 1 d h w"]) -> Encoding:
        """Features of normalised windows; the only thing here that depends on the image.

        Whatever linear scale its windows have, a published model sees them on SegVol's.
        """
        return self._encode(foreground_scaled(image) if self.published else image)

    def _encode(self, image: Tensor) -> Encoding:
        return Encoding((self.image_encoder(image)[-1],), (image.shape[2], image.shape[3], image.shape[4]))

    def masks(self, encoding: Encoding, index: Int[Tensor, " P"], prompts: WindowPrompts) -> Masks:
        """Answers to P prompts, prompt i in window index[i].

        Boxes are cut to the window, points outside of it are left out. `z_mid` is not used: tokens tell no
        more of a box than its corners. A published model leaves `previous` out too.
        """
        (features,) = encoding.features
        if len(features) > 1:
            features = features[index]
        return self._decode(features, encoding.shape, prompts.confined(encoding.shape), padding_tokens=False)

    def forward(
        self,
        image: Float[Tensor, "B 1 d h w"],
        boxes: Real[Tensor, "B 6"] | None = None,
        points: tuple[Real[Tensor, "B N 3"], Real[Tensor, "B N"]] | None = None,
    ) -> Float[Tensor, "B 1 d h w"]:
        """Logits of one prompt an image, called and computed as SegVol's published forward.

        Args:
            image: windows as the encoder shall see them, for published weights 0..1 (`foreground_scaled`).
            boxes: z1 y1 x1 z2 y2 x2 in voxel indices, CLOSED as SegVol's boxes are, or None.
            points: positions (z, y, x) in voxel indices, and labels (B, N): 1, 0, or -1 for "not a point",
                which takes part as a token of its own; or None.
        """
        count, device = len(image), image.device
        if boxes is None:
            half_open = torch.full((count, 6), float("nan"), device=device)
        else:
            half_open = boxes.reshape(count, 6).float() + boxes.new_tensor([0, 0, 0, 1, 1, 1]).float()
        positions, labels = points or (torch.zeros(count, 0, 3), torch.zeros(count, 0))
        prompts = WindowPrompts(
            half_open,
            torch.zeros(count, device=device),
            positions.to(device, torch.float32),
            labels.to(device, torch.int64),
        )
        encoding = self._encode(image)
        return self._decode(encoding.features[0], encoding.shape, prompts, padding_tokens=True).logits

    def _decode(
        self, features: Tensor, window: Shape, prompts: WindowPrompts, *, padding_tokens: bool
    ) -> Masks:
        grid = (features.shape[2], features.shape[3], features.shape[4])
        tokens = self.prompt_encoder(prompts, window, grid, padding_tokens=padding_tokens)
        masks = self.mask_decoder(features, self.prompt_encoder.dense_position(grid), tokens)
        logits = F.interpolate(masks.logits.float(), size=window, mode="trilinear", align_corners=False)
        return Masks(logits, masks.quality.float())


def build_segvol(encoder: str = "vit_b", *, published: bool = False) -> SegVolSegmenter:
    """The framework with SegVol's window and defaults around a registered encoder."""
    return SegVolSegmenter(build_encoder(encoder), published=published)
