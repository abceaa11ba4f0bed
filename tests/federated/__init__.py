"""Federations."""
