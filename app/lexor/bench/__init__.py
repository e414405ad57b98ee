"""Benchmarks: each prints a ratio against a named baseline that ran beside it."""
