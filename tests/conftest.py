"""What holds for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A compiler beside every daemon that a test starts would take the processors from all the others.
os.environ["STREAMMETA_ENGINE__COMPILE"] = "off"

# A loaded machine is slow, not wrong.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


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
