"""Commands run in this process, without the machine's own settings, and leave its logging as it was."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from streammeta.cli import main
from tests.states import make_state

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No STREAMMETA_ variables inside; afterwards handlers, levels and structlog as they were."""
    for name in [name for name in os.environ if name.startswith("STREAMMETA_")]:
        monkeypatch.delenv(name)
    loggers = [logging.getLogger(name) for name in (None, "kafka")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    structlog.reset_defaults()


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
