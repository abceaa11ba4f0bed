"""A broker on this machine, for a quick start and for tests."""
