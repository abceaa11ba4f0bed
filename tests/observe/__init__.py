"""Folds over outcomes."""
