import pytest

from lexor.training.config import BudgetConfig, OptimiserConfig
from lexor.training.schedule import learning_rate, progress


def test_the_budget_is_steps_or_minutes() -> None:
    assert progress(BudgetConfig(steps=10), 4, 1e9) == pytest.approx(0.4)
    assert progress(BudgetConfig(minutes=2), 10**9, 30) == pytest.approx(0.25)
    assert progress(BudgetConfig(steps=10, minutes=2), 4, 90) == pytest.approx(0.75)


def test_rates() -> None:
    cosine = OptimiserConfig(rate=1.0, warm_up=4, floor=0.01)
    assert learning_rate(cosine, 0, 0.0, 1) == pytest.approx(0.25)
    assert learning_rate(cosine, 99, 0.5, 1) == pytest.approx(0.505)
    assert learning_rate(cosine, 99, 1.0, 1) == pytest.approx(0.01)
    halving = OptimiserConfig(rate=1.0, warm_up=0, schedule="halving", halve_every=200)
    assert [learning_rate(halving, step, 0.9, 3) for step in (0, 599, 600, 1200)] == [1, 1, 0.5, 0.25]
    constant = OptimiserConfig(rate=3.0, warm_up=0, schedule="constant")
    assert learning_rate(constant, 5, 0.9, 1) == 3
