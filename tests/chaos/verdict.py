"""What must hold when a run is over, whatever was done to it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from kafka import KafkaConsumer, TopicPartition
from safetensors.numpy import load_file

from streammeta.events import Array
from tests.brokers.broker import eventually
from tests.chaos.stage import Place, Stage
from tests.chaos.stream import Sent, sets_of
from tests.end_to_end import reference
from tests.end_to_end.program import same_bits, succeed

TOLERANCE = 1e-10
LAYERS = [f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")]


def judge(stage: Stage) -> dict[str, float]:
    """Assert it; how far the independent computation is away, and how many letters were written twice."""
    good = [one for one in stage.sent.values() if not one.poison]
    assert stage.daemon.counts() == Counter(_task(one) for one in good), "events of each task"
    twice = _judge_letters(stage)
    rows = list(_recorded(stage.recording))
    assert Counter(place for place, _ in rows) == Counter(stage.sent.keys()), "each record recorded once"
    assert all(stage.sent[place].value == value for place, value in rows), "byte for byte"
    exported = stage.daemon.export()
    assert same_bits(exported, _replayed(stage)), "the replay of the run's own recording"
    return {"letters twice": twice, "distance": _distance(stage, rows, exported)}


def _task(one: Sent) -> str:
    return (one.key or b"").decode()


def _judge_letters(stage: Stage) -> int:
    """Each poison record is a dead letter, byte for byte, and nothing else is."""
    poison = {place: one for place, one in stage.sent.items() if one.poison}
    found: Counter[Place] = Counter()
    for letter in _everything(stage.kafka.facts["PLAINTEXT"], stage.dead_letter_topic):
        headers = dict(letter.headers)
        partition, offset = (int(headers[f"__streammeta.errors.{name}"]) for name in ("partition", "offset"))
        place = Place(partition, offset)
        assert place in poison, f"a dead letter that is no poison: {place} {headers}"
        assert (letter.key, letter.value) == (poison[place].key, poison[place].value)
        found[place] += 1
    assert found.keys() == poison.keys(), f"{len(poison) - len(found)} poison records are no dead letters"
    return found.total() - len(found)


def _everything(servers: str, topic: str) -> list[Any]:
    """All records of a topic that nobody writes to any more."""
    with closing(KafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")) as consumer:
        places = [TopicPartition(topic, p) for p in eventually(lambda: consumer.partitions_for_topic(topic))]
        consumer.assign(places)
        ends, found = consumer.end_offsets(places), list[Any]()

        def complete() -> bool:
            for records in consumer.poll(100).values():
                found.extend(records)
            return all(consumer.position(place) >= end for place, end in ends.items())

        eventually(complete)
        return found


def _recorded(folder: Path) -> Iterator[tuple[Place, bytes]]:
    """The rows, in the order in which they were learned."""
    for part in sorted(folder.glob("part-*.parquet")):
        table = pq.read_table(part, columns=["partition", "offset", "value"]).to_pydict()
        for partition, offset, value in zip(*table.values(), strict=True):
            yield Place(partition, offset), value


def _replayed(stage: Stage) -> dict[str, Array]:
    state = stage.daemon.state.with_name("replayed")
    changes = {"state.dir": state, "http.port": 0}
    settings = {**stage.daemon.settings, **changes}
    kept = [f"--set={key}={value}" for key, value in settings.items() if not key.startswith("kafka.")]
    succeed("replay", stage.recording, *kept)
    output = state.with_suffix(".safetensors")
    succeed("export", "--state", state, "--all-tasks", "--output", output)
    return load_file(output)


def _distance(stage: Stage, rows: list[tuple[Place, bytes]], exported: Mapping[str, Array]) -> float:
    """The largest difference to plain loops in NumPy over the recorded order."""
    events = (
        (_task(stage.sent[place]), *sets_of(value)) for place, value in rows if not stage.sent[place].poison
    )
    start = reference.first_parameters(0)
    w, memories = reference.moml(events, start, alpha=0.01, beta=0.3, eta=0.002, momentum=0.8, clip=10.0)
    assert not reference.close(w, start, 1e-2), "nothing was learned"
    assert len(exported) == (1 + len(memories)) * len(LAYERS)
    distances = [
        float(np.abs(np.concatenate([exported[f"{name}/{layer}"].ravel() for layer in LAYERS]) - one).max())
        for name, one in {"meta": w, **{f"task/{task}": memory for task, memory in memories.items()}}.items()
    ]
    assert max(distances) <= TOLERANCE, f"{max(distances)} from the independent computation"
    return max(distances)
