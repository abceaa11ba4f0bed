"""One compiled step for all tests of a run, whatever the number of workers: compiling takes seconds."""

import fcntl
from pathlib import Path
from typing import NamedTuple

import pytest

from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import Compiled, CompiledSteps
from streammeta.learner.executors.identity import compiler_version, key_of, name_of
from streammeta.learner.executors.process import TracedStep
from tests.learner.executors.steps import traced


class Shared(NamedTuple):
    """A traced step, and the same compiled."""

    step: TracedStep
    compiled: Compiled
    directory: Path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """MOML on the MLP 2-3-1, compiled once."""
    if compiler_version() is None:
        pytest.skip("no C++ compiler on this machine")
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "compiled"
    directory.mkdir(mode=0o700, exist_ok=True)
    step = traced(predicts=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        steps = CompiledSteps(Cache(directory))
        name = name_of(key_of(step.update, step.inputs, step.state_count), "small", str(compiler_version()))
        compiled = steps.named(step, name)  # one form alone: half the time
    assert compiled is not None
    assert compiled.name == name
    return Shared(step, compiled, directory)
