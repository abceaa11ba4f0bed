"""The daemon around the loop: HTTP, signals, reload, and how it ends."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest

from streammeta.clock import Clock
from streammeta.config import Config, load_config
from streammeta.errors import BrokerUnavailable, DeadLetterFailed, StateLocked
from streammeta.events import Positions, Record
from streammeta.observe.logs import LogLines, configure_logging
from streammeta.programs.daemon import Connect, _watchers, run_daemon
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from streammeta.stream.base import Waiting, untold
from tests.observe.outcomes import checkpointed, learned, refused, turned
from tests.scripted import CollectedDeadLetters, ScriptedSource, make_script


def config_of(directory: Path, *settings: str) -> Config:
    """A small first-order learner on a free port, that logs JSON."""
    base = (
        f"state.dir={directory / 'state'}",
        "model.args.sizes=[2, 2, 1]",
        "algorithm.order=first",
        "http.port=0",
        "engine.compile=off",
        "log.format=json",
    )
    return load_config(None, [*base, *settings], {})


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The log lines since the last look."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The configuration at the start of the process; its logging is in force."""
    made = config_of(tmp_path)
    configure_logging(made.log.level, made.log.format)
    return made


def test_watchers_all_hear_of_each_outcome(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics, status, health and log lines show the same events."""
    clock = Clock(monotonic=lambda: 50.0, now=lambda: 1000.0)
    lines = LogLines(structlog.get_logger(), clock.monotonic)
    store = MemoryStore()
    watchers = _watchers(config, restore(build_blueprint(config), store), store, lines, clock)
    assert watchers.status.snapshot()["learning_rates"] == {"inner": 0.01, "meta": 0.001}
    for outcome in (turned(), learned(), refused(), checkpointed()):
        for observer in watchers.observers:
            observer(outcome)
    text = generate_latest(watchers.registry).decode()
    assert 'streammeta_events_total{outcome="learned",topic="tasks"} 1.0' in text
    assert 'streammeta_build_info{algorithm="moml"' in text
    status = watchers.status.snapshot()
    assert (status["events"], status["topic"], status["algorithm"]) == (1, "tasks", "moml")
    assert status["started_at_seconds"] == 1000.0
    assert watchers.health.ready()[0]
    assert any("x has no shape" in json.dumps(line) for line in told(capsys))


@dataclass
class EventfulSource(ScriptedSource):
    """A scripted source; `at_poll` is called with the number of each poll, before its records come."""

    at_poll: Callable[[int], None] = lambda _: None
    polls: int = 0

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """The next batch."""
        self.polls += 1
        self.at_poll(self.polls)
        return super().poll(timeout_seconds)


def connected_to(source: ScriptedSource) -> Connect:
    """Connects the daemon with this source."""
    return lambda _config, _keep_going: (source, CollectedDeadLetters([]))


def script(events: int = 12) -> list[Record]:
    """Records without poison."""
    return make_script(1, partitions=2, tasks=3, events=events, poison=0.0)


def fetched(url: str, token: str | None = None) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310 (loopback)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (loopback)
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_daemon_learns_serves_and_lets_go(tmp_path: Path) -> None:
    """Until the end: served while it learns, checkpointed at the end, the state directory free again."""
    config = config_of(tmp_path)
    addresses: list[str] = []
    during: list[tuple[int, str]] = []

    def look(poll: int) -> None:
        if poll == 2:
            during.append(fetched(f"{addresses[0]}/api/v1/status"))
            during.append(fetched(f"{addresses[0]}/metrics"))

    source = EventfulSource(script(), lambda: 5, at_poll=look)
    last = run_daemon(
        config,
        read_config=lambda: config,
        connect=connected_to(source),
        until_end=True,
        on_serving=addresses.append,
    )
    assert last["events"] == 12
    assert json.loads(during[0][1])["events"] == 5
    assert 'streammeta_events_total{outcome="learned",topic="tasks"} 5.0' in during[1][1]
    with pytest.raises(urllib.error.URLError):
        fetched(f"{addresses[0]}/livez")
    with StateDirectory(config.state.dir) as directory:
        store = LmdbStore(directory.lmdb_path, readonly=True)
        assert sum(stats.events for _, stats in store.stats()) == 12
        store.close()
    assert source.told == source.ends()


def test_a_second_life_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    """Events count through; nothing is learned twice."""
    config = config_of(tmp_path)
    records = script(20)
    for part in (records[:8], records):
        last = run_daemon(
            config,
            read_config=lambda: config,
            connect=connected_to(ScriptedSource(part, lambda: 3)),
            until_end=True,
        )
    assert last["events"] == 20
    assert last["outcomes"]["learned"] == 12


def test_a_second_life_shows_its_events_at_once(tmp_path: Path) -> None:
    """Before any event of its own: those of the state, and the rates."""
    config = config_of(tmp_path, "algorithm.inner_lr=0.02")
    for _ in range(2):
        last = run_daemon(
            config,
            read_config=lambda: config,
            connect=connected_to(ScriptedSource(script(8), lambda: 3)),
            until_end=True,
        )
    assert last["outcomes"]["learned"] == 0
    assert last["events"] == 8
    assert last["learning_rates"] == {"inner": 0.02, "meta": 0.001}


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_the_last_line_says_how_it_ended(
    number: signal.Signals | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events, dead letters by reason, the checkpoint, and why; the signals before it."""
    config = config_of(tmp_path)
    poisoned = make_script(1, partitions=2, tasks=3, events=40, poison=0.6)

    def at_poll(poll: int) -> None:
        if poll == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        if poll == 12 and number is not None:
            os.kill(os.getpid(), number)

    source = EventfulSource(poisoned, lambda: 4, at_poll=at_poll)
    last = run_daemon(
        config, read_config=lambda: config, connect=connected_to(source), until_end=number is None
    )
    lines = told(capsys)
    count = last["outcomes"]["dead_letter"]
    assert count > 10
    stopped = lines[-1]
    assert (stopped["event"], stopped["why"]) == ("stopped", "signal" if number else "end of topic")
    assert (stopped["events"], stopped["dead_letters"]) == (40 - count, count)
    assert stopped["dead_letters_by_reason"] == {"undecodable": count}
    assert stopped["checkpoint"] == "written"
    events = [line["event"] for line in lines]
    assert lines[-2]["suppressed"] == count - 10
    assert [line["signal"] for line in lines if line["event"] == "signal received"] == [
        "SIGUSR1",
        *([number.name] if number else []),
    ]
    assert events.index("checkpoint written") > events.index("signal received")
    assert last["state"] == "stopped"


def test_sighup_brings_new_rates_to_the_running_learner(tmp_path: Path) -> None:
    """The very next events are learned at the new rates."""
    config = config_of(tmp_path)
    source = EventfulSource(
        script(), lambda: 4, at_poll=lambda n: os.kill(os.getpid(), signal.SIGHUP) if n == 2 else None
    )
    new = config_of(tmp_path, "algorithm.inner_lr=0.5", "outer.lr=0.25")
    last = run_daemon(config, read_config=lambda: new, connect=connected_to(source), until_end=True)
    assert last["learning_rates"] == {"inner": 0.5, "meta": 0.25}
    assert last["events"] == 12


def test_sigterm_ends_it_with_a_checkpoint(tmp_path: Path) -> None:
    """It does not wait for an end that never comes; what was learned is kept."""
    config = config_of(tmp_path, "state.checkpoint_events=1000")
    source = EventfulSource(
        script(), lambda: 4, at_poll=lambda n: os.kill(os.getpid(), signal.SIGTERM) if n == 6 else None
    )
    last = run_daemon(config, read_config=lambda: config, connect=connected_to(source))
    assert last["events"] == 12
    assert last["checkpoint"] is not None
    assert last["checkpoint"]["ok"]
    assert source.told == source.ends()


@dataclass
class UnreachableSource(ScriptedSource):
    """A source that gives up after its deadline, or when `keep_going` says so."""

    keep_going: Callable[[], bool] = lambda: True
    stopped: bool = False

    def start(self, positions: Positions, identity: str = "") -> Positions:  # noqa: ARG002 (the protocol's)
        """Wait in vain."""
        if self.stopped:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not self.keep_going()
        raise BrokerUnavailable("no broker at nowhere:1")


@pytest.mark.parametrize("stopped", [True, False])
def test_a_broker_that_is_away(stopped: bool, tmp_path: Path) -> None:
    """Stopped while waiting, the daemon ends in peace; else it says that no broker answered."""
    config = config_of(tmp_path)

    def connect(_config: Config, keep_going: Callable[[], bool]) -> Any:
        assert keep_going()
        source = UnreachableSource([], lambda: 1, keep_going=keep_going, stopped=stopped)
        return source, CollectedDeadLetters([])

    if stopped:
        assert run_daemon(config, read_config=lambda: config, connect=connect)["events"] == 0
    else:
        with pytest.raises(BrokerUnavailable, match="nowhere:1"):
            run_daemon(config, read_config=lambda: config, connect=connect)
    with StateDirectory(config.state.dir):
        pass


class SilentDeadLetters(CollectedDeadLetters):
    """Letters that nobody acknowledges; with `stopped`, SIGTERM ends the wait."""

    stopped = False

    def flush(self, waiting: Waiting = untold) -> None:
        """Wait in vain, once there is something to wait for."""
        if self.sent:
            waiting()
            if self.stopped:
                os.kill(os.getpid(), signal.SIGTERM)
            raise DeadLetterFailed("1 dead letter was not acknowledged")


@pytest.mark.parametrize("stopped", [True, False])
def test_dead_letters_that_are_not_acknowledged(stopped: bool, tmp_path: Path) -> None:
    """Stopped while waiting for them, the daemon ends in peace and reads them again; else it says so."""
    config = config_of(tmp_path)
    records = make_script(1, partitions=1, tasks=2, events=5, poison=1.0)
    letters = SilentDeadLetters([])
    letters.stopped = stopped

    def live(dead_letters: CollectedDeadLetters) -> None:
        source = ScriptedSource(records, lambda: 5)
        run_daemon(
            config,
            read_config=lambda: config,
            connect=lambda _config, _keep_going: (source, dead_letters),
            until_end=True,
        )

    if stopped:
        live(letters)
    else:
        with pytest.raises(DeadLetterFailed, match="not acknowledged"):
            live(letters)
    again = CollectedDeadLetters([])
    live(again)
    assert [record for record, _ in again.kept] == records


def test_a_token_guards_what_is_not_a_health_check(tmp_path: Path) -> None:
    """The configured file's token opens the page; without it only health and metrics answer."""
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    config = config_of(tmp_path, f"http.token_file={file}")
    answers: dict[str, int] = {}

    def look(address: str) -> None:
        answers["status"] = fetched(f"{address}/api/v1/status")[0]
        answers["with token"] = fetched(f"{address}/api/v1/status", "s3cret")[0]
        answers["livez"] = fetched(f"{address}/livez")[0]
        answers["metrics"] = fetched(f"{address}/metrics")[0]

    source = ScriptedSource([], lambda: 1)
    run_daemon(
        config,
        read_config=lambda: config,
        connect=connected_to(source),
        until_end=True,
        on_serving=look,
    )
    assert answers == {"status": 401, "with token": 200, "livez": 200, "metrics": 200}


def test_a_directory_in_use_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    """Nothing connects, nothing is served."""
    config = config_of(tmp_path)
    opened: list[str] = []

    def connect(_config: Config, _keep_going: Callable[[], bool]) -> Any:
        opened.append("source")
        raise AssertionError

    with StateDirectory(config.state.dir), pytest.raises(StateLocked):
        run_daemon(config, read_config=lambda: config, connect=connect, on_serving=opened.append)
    assert opened == []
