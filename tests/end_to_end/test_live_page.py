"""A daemon, a broker, a producer and a real Chromium: what a person sees of a run, good and bad moments."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from streammeta.stream.embedded.broker import EmbeddedBroker
from tests.end_to_end.program import Daemon, running, succeed
from tests.web.browser import Watched, chromium, opened

GONE = ("Failed to load resource", "net::ERR")
"""What Chromium itself says of a daemon that is away."""


@contextmanager
def producing(bootstrap_servers: str, *options: object) -> Iterator[None]:
    """`streammeta produce sinusoid` while the block runs."""
    stream = ["produce", "sinusoid", "--tasks", 12, "--shots", 5, "--query", 5, *options]
    with running(*stream, "--bootstrap-servers", bootstrap_servers):
        yield


def hang(broker: EmbeddedBroker, number: signal.Signals) -> None:
    """Stop the broker's processes, or let them go on."""
    assert broker._process is not None
    os.killpg(broker._process.pid, number)


def first_event(watched: Watched) -> float:
    """Where the curve of losses begins, as its CSV tells."""
    with watched.page.expect_download() as download:
        watched.page.locator("[data-chart=loss] .files button").last.dispatch_event("click")
    return float(Path(download.value.path()).read_text().splitlines()[1].split(",")[0])


def shown_events(watched: Watched) -> int:
    """The number in the tile."""
    return int((watched.page.text_content("[data-tile=events] b") or "0").replace(",", ""))


@pytest.mark.skipif(sys.platform != "linux", reason="the broker is hung by signals to its group")
def test_a_person_watches(tmp_path: Path) -> None:
    """Curves move; a task is found; a broker that hangs is told within 10 s, and no longer when it is back.

    After a restart the page goes on by itself, and its curves begin where the stream began.
    """
    with chromium() as browser, EmbeddedBroker() as broker:
        succeed("produce", "sinusoid", "--events", 1, "--bootstrap-servers", broker.bootstrap_servers)
        settings = {
            "kafka.bootstrap_servers": broker.bootstrap_servers,
            "model.args": "{sizes = [1, 8, 1]}",
            "outer.clip_norm": 10.0,
            "state.checkpoint_seconds": 0.5,
        }
        with (
            Daemon(tmp_path / "state", settings) as daemon,
            producing(broker.bootstrap_servers, "--rate", 60),
        ):
            daemon.start()
            daemon.wait_for_events(20)
            with opened(browser, f"http://127.0.0.1:{daemon.port}", expected=GONE) as watched:
                watched.shows("#state", "learning")
                before = shown_events(watched)
                watched.page.wait_for_function(
                    "(before) => Number(document.querySelector('[data-tile=events] b').textContent) > before",
                    arg=before,
                )
                watched.page.fill("#tasks input", "sinusoid/7")
                watched.shows("#tasks tbody tr:only-child td", "sinusoid/7")
                hang(broker, signal.SIGSTOP)
                watched.shows(".trouble[data-code=no_broker]", "No broker has answered")
                hang(broker, signal.SIGCONT)
                watched.page.wait_for_selector(".trouble", state="detached")
                daemon.send(signal.SIGTERM)
                watched.shows("#state", "reconnecting")
                assert daemon.wait() == 0, daemon.log.read_text()
                learned = shown_events(watched)
                daemon.start()
                watched.shows("#state", "learning")
                watched.page.wait_for_selector(".trouble", state="detached")
                assert shown_events(watched) >= learned
                assert first_event(watched) < 10
