"""Folds over outcomes: metrics, status, progress."""
