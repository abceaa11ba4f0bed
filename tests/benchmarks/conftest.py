"""Suites in this process: what they would do in processes of their own costs some seconds each to import."""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from streammeta.benchmarks import hops, memory, pipeline, recording, start, tasks
from streammeta.benchmarks.hops import HOPS
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.stream.embedded.broker import broker_available


def here(module: str, function: str, **arguments: Any) -> Any:
    """As `apart`, but in this process; what is not JSON fails here too."""
    called = getattr(importlib.import_module(module), function)
    return json.loads(json.dumps(called(**json.loads(json.dumps(arguments)))))


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes; what `hops` changes is put back."""
    for suite in (hops, memory, pipeline, recording, start, tasks):
        monkeypatch.setattr(suite, "apart", here)
    for owner, attribute in (
        *(place for places in HOPS.values() for place in places),
        (CompiledSteps, "require"),
    ):
        monkeypatch.setattr(owner, attribute, getattr(owner, attribute))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the daemon: on a busy machine two threads of torch wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _broker() -> None:
    if not broker_available():
        pytest.skip("no embedded broker is installed for this platform (extra quickstart)")
