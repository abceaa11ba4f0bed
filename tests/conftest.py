"""What holds for all tests, and in which order their files begin."""

import gc
import os
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import settings

# A compiler beside every daemon that a test starts would take the processors from all the others.
os.environ["STREAMMETA_ENGINE__COMPILE"] = "off"

# As the daemon: over the small products of these tests two threads do little but wait for each other; and
# no test shall find the number that another one left.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

# A loaded machine is slow, not wrong.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

WAITING = (
    *("tests/learner/executors", "tests/deploy/test_prometheus", "tests/end_to_end", "tests/distributed"),
    *("tests/chaos", "tests/learner/test_compiled_engine", "tests/brokers", "tests/web", "tests/library"),
    *("tests/federated", "tests/cli/test_federated", "tests/programs", "tests/sending"),
)
"""Where tests wait for processes, brokers and pages."""
COMPUTING = ("tests/models/test_models", "tests/algorithms", "tests/runtime", "tests/reproduce")
"""Where they compute for a minute or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait and files that compute in turn, so that there is always both; the longest begin first.

    Workers keep to it with `--no-loadscope-reorder`. Within a file the order stays.
    """
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)

    def place(file: str, among: tuple[str, ...]) -> int:
        return next((at for at, name in enumerate(among) if file.startswith(name)), len(among))

    waiting = sorted((f for f in files if f.startswith(WAITING)), key=lambda f: place(f, WAITING))
    computing = sorted((f for f in files if not f.startswith(WAITING)), key=lambda f: place(f, COMPUTING))
    in_turn = (file for pair in zip_longest(waiting, computing) for file in pair if file)
    items[:] = [item for file in in_turn for item in files[file]]


def pytest_collection_finish() -> None:
    """What was imported lives as long as the process: the garbage collector need not look at it any more."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A test that runs a daemon of two threads leaves the next one its own: torch's number is global."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def compiled_directory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Path:
    """Where compiled steps of the tests are: kept between runs, if pytest keeps anything."""
    from streammeta.learner.executors.identity import compiler_version
    from tests.compiled_steps import directory_below

    if compiler_version() is None:
        pytest.skip("no C++ compiler on this machine")
    cache = getattr(request.config, "cache", None)
    if cache is not None:
        return directory_below(cache.mkdir("compiled"))
    base = tmp_path_factory.getbasetemp()
    return directory_below(base if worker_id == "master" else base.parent)


@pytest.fixture(scope="session")
def compiled_world(compiled_directory: Path) -> Path:
    """Where the step of the scripted world is, for an event alone."""
    from tests.world import compile_world

    return compile_world(compiled_directory, 1)
