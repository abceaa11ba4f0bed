"""Ranks as processes over a broker: counted exactly, the same bits, told to stop, told that one hangs."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from streammeta.state.directory import StateDirectory
from tests.brokers.broker import Broker, fresh
from tests.distributed.launcher import Launcher
from tests.distributed.stream import EVENTS, send
from tests.end_to_end.program import free_port, same_bits, wait_until

KILLS = int(os.environ.get("RANKS_KILLS", "3"))
"""`make ranks` asks for more."""
ROUND_EVENTS = 20
SETTINGS = {
    "model.args": "{sizes = [1, 8, 1]}",
    "outer.clip_norm": 10.0,
    "distributed.round_events": ROUND_EVENTS,
    "distributed.round_seconds": 0.0,
    "log.format": "json",
}


def ranks(broker: Broker, topic: str, state: Path, **settings: object) -> Launcher:
    """Two of them on that topic."""
    where = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}
    return Launcher(state, {**SETTINGS, **where, **settings})


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """Eight partitions, of which each rank has one with records: so their order is the same in every run."""
    topic = tansu.create(fresh("ranks"), 8)
    send(tansu, topic, partitions=(2, 5))
    return topic


def test_killed_at_any_moment_the_ranks_end_at_the_same_bits(
    tansu: Broker, topic: str, tmp_path: Path
) -> None:
    """SIGKILL of random ranks: all memories and the meta-model as in the undisturbed run, in step."""
    with ranks(tansu, topic, tmp_path / "calm") as calm, ranks(tansu, topic, tmp_path / "killed") as killed:
        calm.run_to_end()
        killed.run_killed(KILLS, rounds=EVENTS // 2 // ROUND_EVENTS, draws=random.Random(4))
        exported = killed.exports()
        assert all(same_bits(one, other) for one, other in zip(exported, calm.exports(), strict=True))
        meta = [{name: value for name, value in one.items() if name.startswith("meta/")} for one in exported]
        assert same_bits(*meta)


def test_under_torchrun_a_killed_rank_is_started_again_and_nothing_is_lost(
    tansu: Broker, tmp_path: Path
) -> None:
    """Two ranks, eight partitions; one is killed, torchrun starts both again: every event counts once."""
    topic, state = tansu.create(fresh("torchrun"), 8), tmp_path / "state"
    sent = send(tansu, topic, partitions=range(8))
    run = ranks(tansu, topic, state)
    places = ["--nproc-per-node", "2", "--max-restarts", "2", "--master-port", str(free_port())]
    tools = Path(sys.executable).parent
    program = [str(tools / "torchrun"), *places, "--no-python", str(tools / "streammeta")]
    environment = {**os.environ, "STREAMMETA_ENGINE__COMPILE": "off"}
    with (tmp_path / "torchrun.log").open("w") as log:
        group = subprocess.Popen(
            [*program, *run.arguments("--until-end")], stdout=log, stderr=log, env=environment
        )
    try:
        wait_until(lambda: run.closed(1) >= 3 or group.poll() is not None, "three rounds")
        os.kill(int(StateDirectory(run.directory(1)).writer() or 0), signal.SIGKILL)
        assert group.wait(300) == 0, (tmp_path / "torchrun.log").read_text()[-3000:]
    finally:
        group.kill()
        group.wait()
    assert sum(map(Counter, run.counts()), Counter[str]()) == sent
    assert [{int(task[5:]) % 2 for task in counts} for counts in run.counts()] == [{0}, {1}]


def test_a_stopped_group_goes_on_where_it_was(tansu: Broker, topic: str, tmp_path: Path) -> None:
    """SIGTERM to all ranks, wherever they are: each commits and exits 0; started again they lose nothing."""
    with ranks(tansu, topic, tmp_path / "state") as run:
        run.start()
        wait_until(lambda: run.closed(0) >= 4 or run.over(), run.said)
        run.send(signal.SIGTERM)
        assert run.codes() == [0, 0], run.said()
        run.run_to_end()
        assert sum(sum(counts.values()) for counts in run.counts()) == EVENTS


def test_a_rank_that_hangs_is_told_by_the_others(tansu: Broker, topic: str, tmp_path: Path) -> None:
    """A frozen rank is waited for as long as `timeout_seconds` says; then the other says so, and exits 69."""
    with ranks(tansu, topic, tmp_path / "state", **{"distributed.timeout_seconds": 4.0}) as run:
        run.start()
        wait_until(lambda: run.closed(0) >= 2 or run.over(), run.said)
        run.ranks[1].send_signal(signal.SIGSTOP)
        assert run.ranks[0].wait(240) == 69
        assert "rank 1 gave no sign of life for" in run.log(0).read_text()
