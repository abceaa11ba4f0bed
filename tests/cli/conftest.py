"""Commands run in this process, without the machine's own settings, and leave its logging as it was."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streammeta.cli import main
from tests.logs import logging_as_before
from tests.states import make_state

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No STREAMMETA_ variables inside; afterwards handlers, levels and structlog as they were."""
    for name in [name for name in os.environ if name.startswith("STREAMMETA_")]:
        monkeypatch.delenv(name)
    with logging_as_before():
        yield


@pytest.fixture
def streammeta() -> Invoke:
    """The command line: `streammeta("tasks", "list", …)`; a wide terminal, so that no cell is cut."""

    def invoke(*arguments: object, **env: str) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], env={"COLUMNS": "200"} | env)

    return invoke


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with three tasks after five events."""
    return make_state(tmp_path / "state")
