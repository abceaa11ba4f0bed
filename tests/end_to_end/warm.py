"""Imported by the server that forks the lives of `lives.py`: torch's tracer takes seconds to import."""

import torch

import streammeta.programs.daemon
from streammeta.learner.graphs import trace

trace(lambda flat: [flat[0] + 1], [torch.ones(1)])

__all__ = ["streammeta"]
