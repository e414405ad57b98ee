"""Training: synthetic volumes, simulated prompts, the loop."""
