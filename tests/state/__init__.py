"""Tests of the state on disk."""
