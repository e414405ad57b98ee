"""How a target is looked at: one strategy for each kind."""
