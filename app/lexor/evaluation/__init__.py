"""Evaluation: scores against the truth, beside answers that need no model."""
