"""Tests of networks, losses and users' models."""
