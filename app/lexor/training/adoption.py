"""A model of the light family that starts with what another one has learnt: its fine maps and its decoder.

The models differ in their encoders; what they share is counted from the finest scale, where a coarse encoder's
`Detail` stands for the first stages of a fine one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from lexor.models.encoders.mobilenet3d import MobileNet3D
from lexor.models.light.maps import CHANNELS
from lexor.models.light.network import SIMILARITIES, Fuse, LightSegmenter, PrototypeSimilarity
from lexor.models.segmenter import Segmenter
from lexor.training.config import TrainingError


@torch.no_grad()
def adopt(model: Segmenter, donor: Segmenter) -> int:
    """Copies the donor's values into every part that both models have; returns how many values.

    The first convolution at a scale takes the channels of that scale; those from below stay as they are where the
    two models differ below.

    Args:
        model: is changed; a light model.
        donor: a light model around `mobilenet3d`, or of the model's own kind.

    Raises:
        TrainingError: either is of another family.
    """
    if not isinstance(model, LightSegmenter) or not isinstance(donor, LightSegmenter):
        raise TrainingError("model.start_model: only models of the light family share parts; leave it out")
    theirs = dict(_parts(donor))
    copied = 0
    for key, part in _parts(model):
        if key not in theirs:
            continue
        values = theirs[key].state_dict()
        for name, mine in part.state_dict().items():
            value = values.get(name)
            if value is None:
                continue
            if mine.shape == value.shape:
                mine.copy_(value)
                copied += mine.numel()
            elif isinstance(part, Fuse) and name == "conv1.weight":
                common = _own_channels(model, key)
                mine[:, -common:] = value[:, -common:]
                copied += mine[:, -common:].numel()
    return copied


def _parts(model: LightSegmenter) -> Iterator[tuple[str, nn.Module]]:
    """The parts that light models share, by names that count scales from the finest, 0."""
    scales = len(model.fuse)
    for number in range(scales):
        scale = scales - 1 - number
        yield f"fuse.{scale}", model.fuse[number]
        yield f"similarity.{scale}", model.similarity[number]
    yield "head", model.head
    yield "start", nn.ParameterList([model.start])
    encoder = model.encoder
    if model.detail is not None:
        yield "stem", model.detail.stem
        yield "norm", model.detail.norm
        for scale, block in enumerate(model.detail.blocks):
            yield f"block.{scale}", block
        for scale, down in enumerate(model.detail.downsamples):
            yield f"down.{scale}", down
    elif isinstance(encoder, MobileNet3D):
        yield "stem", encoder.stem
        yield "norm", encoder.stem_norm
        for scale, stage in enumerate(encoder.stages):
            assert isinstance(stage, nn.Sequential)
            yield f"block.{scale}", stage[0]
        for scale, down in enumerate(encoder.downsamples):
            yield f"down.{scale}", down


def _own_channels(model: LightSegmenter, key: str) -> int:
    """Input channels of a scale's first convolution that come from that scale itself."""
    similarity = model.similarity[len(model.fuse) - 1 - int(key.removeprefix("fuse."))]
    assert isinstance(similarity, PrototypeSimilarity)
    return similarity.project.in_channels + CHANNELS + SIMILARITIES
