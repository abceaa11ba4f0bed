"""Runs to hand on."""
