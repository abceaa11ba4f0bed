"""A run to hand on: one page, or one picture, made from a state without its daemon."""
