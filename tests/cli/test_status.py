"""`streammeta status` asks a daemon's real port; what is wrong there is told with its remedy."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.observe.outcomes import learned, turned
from tests.web.shown import Daemon

TOKEN = "a token of some length"  # noqa: S105 (of a test)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """One that asks for a token."""
    daemon = Daemon(token=TOKEN)
    daemon.server.start()
    yield daemon
    daemon.server.stop()


@pytest.fixture
def file(tmp_path: Path, daemon: Daemon) -> Path:
    """The configuration of that daemon."""
    (tmp_path / "token").write_text(TOKEN)
    file = tmp_path / "learner.toml"
    port = daemon.server.address.rsplit(":", 1)[1]
    file.write_text(f'[http]\nport = {port}\ntoken_file = "{tmp_path / "token"}"\n')
    return file


def test_it_tells_what_the_daemon_says(daemon: Daemon, file: Path, streammeta: Invoke) -> None:
    """For people, a line each, what is unknown a dash; for machines the status itself."""
    before = streammeta("status", "--config", file)
    assert before.exit_code == 0, before.stderr
    assert "checkpoint    -" in before.stdout
    assert "lag           -" in before.stdout
    daemon.tell(learned(), turned(lag=(7, 5)))
    text = streammeta("status", "--config", file).stdout
    assert "12 records in 2 partitions" in text
    assert "after one adaptation" in text
    status = json.loads(streammeta("status", "--config", file, "--format", "json").stdout)
    assert (status["lag"]["total"], status["topic"]) == (12, "t")


def test_without_its_token_it_is_told_what_to_do(daemon: Daemon, streammeta: Invoke) -> None:
    """No traceback."""
    refused = streammeta("status", "--url", daemon.server.address)
    assert refused.exit_code == 1
    assert "name its http.token_file with --config F" in refused.stderr


def test_nobody_there(streammeta: Invoke) -> None:
    """A port that nobody listens on, and a URL that is none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refused = streammeta("status", "--url", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert refused.exit_code == 1
    assert "is it running" in refused.stderr
    misspelt = streammeta("status", "--url", "localhost:9464")
    assert misspelt.exit_code == 2
    assert "begins neither with" in misspelt.stderr
