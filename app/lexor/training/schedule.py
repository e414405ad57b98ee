"""How far a run is, and the learning rate there."""

from __future__ import annotations

import math

from lexor.training.config import BudgetConfig, OptimiserConfig


def progress(budget: BudgetConfig, step: int, seconds: float) -> float:
    """Share of the budget that is spent: of the steps or of the time, whichever is more; 1 is the end."""
    by_steps = step / budget.steps if budget.steps else 0.0
    by_time = seconds / (budget.minutes * 60) if budget.minutes else 0.0
    return max(by_steps, by_time)


def learning_rate(config: OptimiserConfig, step: int, spent: float, epoch_steps: int) -> float:
    """The rate of step `step`, counted from 0.

    Args:
        spent: share of the budget, see `progress`.
        epoch_steps: steps in which as many samples are seen as there are cases.
    """
    rate = config.rate * min(1.0, (step + 1) / max(1, config.warm_up))
    if config.schedule == "cosine":
        rate *= config.floor + (1 - config.floor) * (1 + math.cos(math.pi * min(spent, 1.0))) / 2
    elif config.schedule == "halving":
        rate *= 0.5 ** (step // (config.halve_every * epoch_steps))
    return rate
