"""Convergence against communication: one stream, ranks that unite often or seldom."""
