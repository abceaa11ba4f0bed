"""Tests of episodes and iterations."""
