"""Continual meta-learning on Kafka streams."""

from importlib.metadata import version

__version__ = version("streammeta")
