"""Ranks as processes over a broker: counted exactly, the same bits, told to stop, told that one hangs."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from streammeta.state.directory import StateDirectory
from tests.brokers.broker import Broker, fresh
from tests.distributed.groups import Held, read
from tests.distributed.launcher import Launcher
from tests.distributed.stream import EVENTS, as_learned, ordered, put, send
from tests.end_to_end.program import free_port, same_bits, wait_until

KILLS = int(os.environ.get("RANKS_KILLS", "3"))
"""`make ranks` asks for more, and then for four ranks too."""
MANY = KILLS > 3
WORLDS = (2, 4) if MANY else (2,)
ROUND_EVENTS = 20
EACH = 30 * KILLS if MANY else 50
"""Records of a partition."""
SETTINGS = {
    "model.args": "{sizes = [1, 8, 1]}",
    "outer.clip_norm": 10.0,
    "distributed.round_events": ROUND_EVENTS,
    "distributed.round_seconds": 0.0,
    "log.format": "json",
}


def ranks(broker: Broker, topic: str, state: Path, world: int = 2, **settings: object) -> Launcher:
    """So many of them on that topic."""
    where = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}
    return Launcher(state, {**SETTINGS, **where, **settings}, world)


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """Apache Kafka for many kills, the embedded broker for few."""
    found: Broker = request.getfixturevalue("kafka_broker" if MANY else "tansu")
    return found


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """Eight partitions, of which each rank has one with records."""
    topic = tansu.create(fresh("ranks"), 8)
    send(tansu, topic, partitions=(2, 5))
    return topic


@pytest.mark.parametrize("world", WORLDS)
def test_killed_at_any_moment_the_ranks_end_at_the_same_bits(
    broker: Broker, tmp_path: Path, world: int
) -> None:
    """SIGKILL of random ranks over eight partitions, also within rounds: each record is learned once.

    A group that nobody disturbs, given the records in the order in which they were learned, ends at the same
    memories and meta-model, to the bit.
    """
    records, rounds = ordered(world, 8, EACH), 8 * EACH // world // ROUND_EVENTS
    topic, calm_topic = (broker.create(fresh(name), 8) for name in ("killed", "calm"))
    put(broker, topic, dict(enumerate(records)))
    with ranks(broker, topic, tmp_path / "killed", world) as killed:
        killed.run_killed(KILLS, rounds, random.Random(4))
    learned = read(killed.state)
    assert [counted(held) for held in learned] == [
        Counter(one.task for of in records[rank::world] for one in of) for rank in range(world)
    ]
    last = [{task: row.stats.last_event for task, row in held.rows.items()} for held in learned]
    orders = [as_learned(records, rank, world, last[rank]) for rank in range(world)]
    put(broker, calm_topic, dict(enumerate(orders)))
    with ranks(broker, calm_topic, tmp_path / "calm", world) as calm:
        calm.run_to_end()
    exported = killed.exports()
    assert all(same_bits(one, other) for one, other in zip(exported, calm.exports(), strict=True))
    meta = [{name: value for name, value in one.items() if name.startswith("meta/")} for one in exported]
    assert all(same_bits(meta[0], one) for one in meta[1:])


def counted(held: Held) -> Counter[str]:
    """Events of each task."""
    return Counter({task: row.stats.events for task, row in held.rows.items()})


def test_under_torchrun_killed_ranks_are_started_again_and_nothing_is_lost(
    broker: Broker, tmp_path: Path
) -> None:
    """Eight partitions; whenever a random rank is killed torchrun starts all again: each counts once."""
    world, kills, draws = WORLDS[-1], KILLS if MANY else 1, random.Random(9)
    topic, rounds = broker.create(fresh("torchrun"), 8), 8 * EACH // world // ROUND_EVENTS
    records = ordered(world, 8, EACH)
    put(broker, topic, dict(enumerate(records)))
    run = ranks(broker, topic, tmp_path / "state", world)
    with torchrun(run, kills, tmp_path / "torchrun.log") as group:
        gone = set[int]()
        for life in range(kills):
            victim, target = draws.randrange(world), draws.randrange(rounds * (life + 1) // (kills + 1))
            gone.add(kill_one(run, victim, target, gone, group))
        assert group.wait(120) == 0, (tmp_path / "torchrun.log").read_text()[-3000:]
    assert [counted(held) for held in read(run.state)] == [
        Counter(one.task for of in records[rank::world] for one in of) for rank in range(world)
    ]


@contextmanager
def torchrun(run: Launcher, restarts: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The ranks of a launcher, but torchrun starts them."""
    tools = Path(sys.executable).parent
    places = ["--nproc-per-node", str(run.world), "--max-restarts", str(restarts)]
    places += ["--monitor-interval", "0.1", "--master-port", str(free_port())]
    program = [str(tools / "torchrun"), *places, "--no-python", str(tools / "streammeta")]
    environment = {**os.environ, "STREAMMETA_ENGINE__COMPILE": "off"}
    with log.open("w") as said:
        group = subprocess.Popen(
            [*program, *run.arguments("--until-end")], stdout=said, stderr=said, env=environment
        )
        try:
            yield group
        finally:
            group.terminate()  # a kill would leave its ranks
            group.wait()


def kill_one(run: Launcher, victim: int, target: int, gone: set[int], group: subprocess.Popen[bytes]) -> int:
    """SIGKILL a rank in its new life, once it has closed so many rounds; its number."""
    found = [0]

    def reached() -> bool:
        found[0] = int(StateDirectory(run.directory(victim)).writer() or 0)
        return group.poll() is not None or (
            psutil.pid_exists(found[0]) and found[0] not in gone and run.closed(victim) >= target
        )

    wait_until(reached, f"round {target} of rank {victim}", 120)
    assert group.poll() is None, "it ended before it was killed so often"
    os.kill(found[0], signal.SIGKILL)
    return found[0]


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
    with ranks(tansu, topic, tmp_path / "state", 2, **{"distributed.timeout_seconds": 4.0}) as run:
        run.start()
        wait_until(lambda: run.closed(0) >= 2 or run.over(), run.said)
        run.ranks[1].send_signal(signal.SIGSTOP)
        assert run.ranks[0].wait(240) == 69
        assert "rank 1 gave no sign of life for" in run.log(0).read_text()
