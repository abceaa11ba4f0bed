"""Compiled steps for the tests of what goes on around them: each compiled once, and kept between runs.

What compiles, and how, is part of the name of the directory: a change there compiles anew.
"""

import fcntl
import hashlib
from pathlib import Path

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.events import Batch, Episode
from streammeta.learner.executors import build, chunk, forms, identity
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.identity import compiler_version, key_of, name_of
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.flat import state_tensors
from streammeta.learner.tracing import Steps

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


class AtHand(CompiledSteps):
    """What the cache has, and no more: no test shall compile by accident."""

    def _may_compile(self, key: str) -> bool:  # noqa: ARG002 (as the class behind)
        return False


def directory_below(base: Path) -> Path:
    """A directory for compiled steps that no change of the compiling code lets grow old."""
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (build, chunk, forms, identity))
    directory = base / hashlib.sha256(sources).hexdigest()[:12]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def compiled_once(directory: Path, steps: Steps, state: State, episode: Episode[Tensor]) -> str:
    """Have the step for iterations of these shapes there, compiled; its name.

    One form alone: half the time. Workers wait for each other.
    """
    traced = steps.traced(state, episode)
    assert traced is not None
    step = TracedStep(*traced, len(state_tensors(state)), steps.predicts)
    name = name_of(key_of(step.update, step.inputs, step.state_count), "small", str(compiler_version()))
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compiled = CompiledSteps(Cache(directory)).named(step, name)
    assert compiled is not None
    return name


def zeros(tasks: int, support: Shapes, query: Shapes, dtype: torch.dtype = torch.float64) -> Episode[Tensor]:
    """An iteration of these shapes of x and y."""
    return Episode(
        *(Batch(*(torch.zeros(tasks, *shape, dtype=dtype) for shape in sets)) for sets in (support, query))
    )
