"""What moves the weights, and what averages them."""

from __future__ import annotations

import torch
from torch import nn

from lexor.training.config import OptimiserConfig


def make_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser; weight decay spares biases, norms and single values."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.name == "adam":
        return torch.optim.Adam(parameters, lr=config.rate, betas=config.betas)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.rate, betas=config.betas)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Moves the averaged weights towards the model's after step `step`; young averages follow faster."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for kept, value in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(value)


def lay_out_gradients(model: nn.Module) -> None:
    """Gives gradients the layout of their weights before processes reduce them, which warn of any other."""
    for parameter in model.parameters():
        # Axes of length 1 have any stride; flattened, they get those of a new tensor.
        parameter.register_hook(lambda gradient: gradient.reshape(-1).view(gradient.shape))  # type: ignore[no-untyped-call]
