"""Random starting values of weights, which a mere plan of a model (on the meta device) does without."""

from __future__ import annotations

from torch import Tensor, nn

# Drawing normal values on the meta device imports torch._dynamo: two seconds, half of a cold start.


def kaiming_normal_(weight: Tensor) -> None:
    """He's normal values for a layer that a ReLU follows, in place."""
    if not weight.is_meta:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")


def trunc_normal_(weight: Tensor) -> None:
    """Normal values of deviation .02, cut off at 2, in place: a ViT's."""
    if not weight.is_meta:
        nn.init.trunc_normal_(weight, std=0.02)
