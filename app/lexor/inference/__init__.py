"""Prediction: one path for every model, from a case to its labels."""
