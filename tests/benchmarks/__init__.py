"""Tests of the benchmarks: that the peers compute what they are timed for."""
