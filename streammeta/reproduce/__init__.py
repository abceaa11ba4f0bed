"""The papers' experiments, run again: a table beside the published figures, and a plot."""
