"""Ranks: processes that torchrun started, each with its partitions and its state, united by rounds."""
