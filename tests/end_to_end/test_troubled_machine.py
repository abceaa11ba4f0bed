"""Full disks, disks that cannot be written to, clocks that jump, topics that change: real processes."""

import json
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from streammeta.events import Array
from tests.brokers.broker import Broker, eventually, fresh
from tests.end_to_end.machines import (
    jumping_clock,
    limit,
    limited_disk,
    may_limit,
    may_mount,
    read_only,
    resize,
    small_disk,
    small_files,
)
from tests.end_to_end.program import Daemon, same_bits, streammeta, succeed

EVENTS, TASKS = 600, 30
SETTINGS = {
    "model.args": "{sizes = [1, 8, 1]}",
    "outer.clip_norm": 10.0,
    "state.checkpoint_events": 50,
    "log.format": "json",
}


def produce(broker: Broker, topic: str, events: int, seed: int = 3) -> None:
    """Further events, of the same tasks."""
    stream = ["--tasks", TASKS, "--shots", 5, "--query", 5, "--seed", seed, "--events", events]
    succeed("produce", "sinusoid", *stream, "--bootstrap-servers", broker.bootstrap_servers, "--topic", topic)


def daemon(broker: Broker, topic: str, state: Path, **fields: object) -> Daemon:
    """A daemon on that topic."""
    where = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}
    return Daemon(state, {**SETTINGS, **where}, **fields)  # type: ignore[arg-type]  # named by the caller


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """The stream in one partition."""
    topic = tansu.create(fresh("troubled"))
    produce(tansu, topic, EVENTS)
    return topic


@pytest.fixture(scope="module")
def undisturbed(tansu: Broker, topic: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """The state after one undisturbed run."""
    with daemon(tansu, topic, tmp_path_factory.mktemp("undisturbed") / "state") as run:
        run.run_to_end()
        return run.export()


def ends_with(run: Daemon, code: int, *said: str) -> None:
    """It ends by itself, with this code and these words, and without a traceback."""
    run.start("--until-end")
    assert run.wait() == code, run.log.read_text()[-3000:]
    log = run.log.read_text()
    assert all(words in log for words in said), log[-3000:]
    assert "Traceback" not in log


def test_a_step_longer_than_several_poll_intervals(
    tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path
) -> None:
    """Who asks for nothing for five of them is thrown out of nothing: the same bits, and served."""
    with daemon(tansu, topic, tmp_path / "state") as run:
        interval_ms = {"kafka.client.max_poll_interval_ms": 1500, "kafka.client.session_timeout_ms": 1500}
        run.settings = {**run.settings, **interval_ms, "kafka.client.heartbeat_interval_ms": 400}
        run.start()
        run.wait_for_events(50)
        run.send(signal.SIGSTOP)
        time.sleep(5 * 1.5)
        run.send(signal.SIGCONT)
        run.wait_for_events(EVENTS)
        eventually(lambda: run.get("/readyz")[0] == 200)
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert same_bits(run.export(), undisturbed)
        assert "reader replaced" not in run.log.read_text()


def test_a_state_that_does_not_fit_the_disk(
    tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path
) -> None:
    """Exit 65 with what is to be done; with room again it goes on, to the same bits."""
    with daemon(tansu, topic, tmp_path / "state", prepare=partial(small_files, 40_000)) as run:
        ends_with(run, 65, "state", "make room")
        run.prepare = partial(small_files, 1 << 30)
        run.run_to_end()
        assert same_bits(run.export(), undisturbed)


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount (root)")
def test_a_recording_that_does_not_fit_the_disk(
    tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path
) -> None:
    """`run --record`: exit 65 in the middle; with room again state and recording are whole."""
    recording = tmp_path / "recording"
    flags = ("--record", str(recording))
    with small_disk(recording, 200_000), daemon(tansu, topic, tmp_path / "state", flags=flags) as run:
        ends_with(run, 65, f"recording {recording}", "No space left on device; make room")
        resize(recording, 100_000_000)
        run.run_to_end()
        assert same_bits(run.export(), undisturbed)
        assert json.loads((recording / "manifest.json").read_text())["rows"] == EVENTS


@pytest.mark.skipif(not may_limit(), reason="needs the right to mount (root), and btrfs-progs")
def test_a_quota_that_is_used_up(
    tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path
) -> None:
    """State and recording under one quota: told, with exit 65; under a larger one both go on, whole.

    The file system copies what it writes, a mapped page too: where it has no room for that, the kernel kills.
    """
    disk = tmp_path / "disk"
    recording = disk / "recording"
    flags = ("--record", str(recording))
    with limited_disk(disk, 350_000), daemon(tansu, topic, disk / "state", flags=flags) as run:
        run.start("--until-end")
        code = run.wait()
        log = run.log.read_text()
        assert code == -signal.SIGBUS or (code == 65 and "Disk quota exceeded" in log), (code, log[-3000:])
        assert "Traceback" not in log
        limit(disk, 100_000_000)
        run.run_to_end()
        assert same_bits(run.export(), undisturbed)
        assert json.loads((recording / "manifest.json").read_text())["rows"] == EVENTS


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount (root)")
def test_a_state_on_a_disk_that_takes_no_writes(tansu: Broker, topic: str, tmp_path: Path) -> None:
    """Exit 65, named, before anything is read; readers of the state still work."""
    with daemon(tansu, topic, tmp_path / "disk" / "state") as run:
        run.state.parent.mkdir()
        run.run_to_end()
        run.prepare = partial(read_only, run.state)
        ends_with(run, 65, "state.dir", "Read-only file system")
        assert streammeta("tasks", "list", "--state", run.state).returncode == 0


def test_a_clock_that_jumps(tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path) -> None:
    """A day there and back, many times a second: nothing hangs, and nothing that is learned differs."""
    with daemon(tansu, topic, tmp_path / "state", prepare=jumping_clock) as run:
        run.run_to_end()
        assert same_bits(run.export(), undisturbed)


@pytest.mark.kafka
def test_partitions_are_added_and_the_topic_is_made_anew(kafka_broker: Broker, tmp_path: Path) -> None:
    """New partitions are read from their first record; another topic ends it, or is learned whole."""
    topic = kafka_broker.create(fresh("changing"))
    produce(kafka_broker, topic, 100)
    with daemon(kafka_broker, topic, tmp_path / "state") as run:
        run.start()
        run.wait_for_events(100)
        kafka_broker.grow(topic, 4)
        produce(kafka_broker, topic, 100, seed=4)
        eventually(lambda: run.events() == 200)
        kafka_broker.recreate(topic, 2)
        produce(kafka_broker, topic, 50, seed=5)
        assert run.wait() == 65
        assert "re-created" in run.log.read_text()  # or cut short: who looks first cannot tell
        kept = sum(run.counts().values())  # what came after the last checkpoint is gone with the old topic
        assert 100 <= kept <= 200
        run.flags = ("--set", "kafka.on_lost_offsets=earliest")
        run.run_to_end()
        assert sum(run.counts().values()) == kept + 50
