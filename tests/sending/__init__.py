"""Tests of what writes Kafka."""
