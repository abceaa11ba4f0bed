"""Compiled steps for the tests of what goes on around them: each compiled once, and kept between runs.

What compiles, and how, is part of the name of the directory: a change there compiles anew.
"""

import fcntl
import hashlib
from pathlib import Path

import torch

from streammeta.events import Batch, Episode
from streammeta.learner.executors import build, chunk, forms, identity
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.identity import compiler_version, key_of, name_of
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.flat import state_tensors
from streammeta.runtime.assembly import Brain


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


def step_of(brain: Brain, episode: Episode[torch.Tensor]) -> TracedStep:
    """The step of this learner for iterations of these shapes."""
    state = brain.learner.init(brain.network.initial)
    traced = brain.steps.traced(state, episode)
    assert traced is not None
    return TracedStep(*traced, len(state_tensors(state)), brain.steps.predicts)


def compiled_once(directory: Path, brain: Brain, *batches: tuple[torch.Tensor, torch.Tensor]) -> str:
    """Compile the step for iterations of these support and query sets, unless it is there; its name.

    One form alone: half the time. Workers wait for each other.
    """
    support, query = batches
    step = step_of(brain, Episode(Batch(*support), Batch(*query)))
    name = name_of(key_of(step.update, step.inputs, step.state_count), "small", str(compiler_version()))
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compiled = CompiledSteps(Cache(directory)).named(step, name)
    assert compiled is not None
    return name
