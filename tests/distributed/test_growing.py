"""Groups that grow and shrink between their lives: daemons learn before, between and after the moves."""

from collections import Counter
from pathlib import Path

from streammeta.stream.kafka.partitions import partition_of
from tests.brokers.broker import Broker, fresh
from tests.distributed.groups import memories, read
from tests.distributed.launcher import Launcher
from tests.distributed.stream import Sent, put, sinusoid
from tests.end_to_end.program import Daemon, succeed

PARTITIONS = 8
SETTINGS = {"model.args": "{sizes = [1, 8, 1]}", "distributed.round_events": 10, "log.format": "json"}


def test_two_four_one_with_learning_before_between_and_after(tansu: Broker, tmp_path: Path) -> None:
    """2 → 4 → 1 ranks: each move keeps every memory bit for bit, and each record is learned once in all."""
    topic, sent = tansu.create(fresh("growing"), PARTITIONS), Counter[str]()
    where = {**SETTINGS, "kafka.bootstrap_servers": tansu.bootstrap_servers, "kafka.topic": topic}
    homes = {world: tmp_path / f"of-{world}" for world in (2, 4, 1)}
    for part, world in enumerate(homes):
        sent += send(tansu, topic, part)
        if world == 1:
            Daemon(homes[1], where).run_to_end()
        else:
            with Launcher(homes[world], where, world) as group:
                group.run_to_end()
        counts = [{task: row.stats.events for task, row in held.rows.items()} for held in read(homes[world])]
        assert sum(map(Counter, counts), Counter[str]()) == sent
        for rank, of in enumerate(counts):
            assert {partition_of(task.encode(), PARTITIONS) % world for task in of} == {rank}
        if world != 1:
            following = {2: 4, 4: 1}[world]
            move = ("--from", homes[world], "--to", homes[following], "--world", following)
            before = memories(homes[world])
            succeed("state", "reshard", *move)
            assert memories(homes[following]) == before
            assert len({*before.values()}) == len(before) == len(sent)


def send(broker: Broker, topic: str, part: int) -> Counter[str]:
    """Sixty records of old and new tasks, where Kafka's partitioner puts them."""
    records = [Sent(f"task-{number % (10 + 5 * part)}", sinusoid(60 * part + number)) for number in range(60)]
    by_place: dict[int, list[Sent]] = {}
    for one in records:
        by_place.setdefault(partition_of(one.task.encode(), PARTITIONS), []).append(one)
    put(broker, topic, by_place)
    return Counter(one.task for one in records)
