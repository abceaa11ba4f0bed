"""Chaos: a seeded plan of kills, freezes, cuts and rotations against the program and a real Apache Kafka."""
