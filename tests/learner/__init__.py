"""Tests of the learner at work."""
