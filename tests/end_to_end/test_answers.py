"""M4 hourly, asked an hour ahead: inputs first, labels later; what is answered is the prequential truth.

In one process, killed at 20 random moments, and through a broker, with processes that are killed for good.
"""

import json
import random
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streammeta.codec import SOURCE
from streammeta.config import Config
from streammeta.datasets.table import Example
from streammeta.evaluation.prequential import Fading
from streammeta.events import Record
from streammeta.outcomes import Outcome
from streammeta.reproduce.m4.experiment import LEARNERS, SUPPORT, config_of
from streammeta.reproduce.m4.stream import examples_of, load
from streammeta.runtime.blueprint import build_blueprint
from streammeta.state.checkpoint import unpack
from streammeta.state.lmdb_store import LmdbStore
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon
from tests.scripted import Fuse
from tests.world import World, rows_of

SERIES, HOURS = 6, 54
KILLS = 20
DATA = Path(__file__).parents[3] / "shared" / "data" / "m4_hourly.csv.gz"
NEEDS_DATA = pytest.mark.skipif(not DATA.exists(), reason=f"{DATA.name} is not there: M4 hourly, as a table")


class Asked(NamedTuple):
    """The stream: its records, and the examples that they carry, two records each."""

    records: list[Record]
    examples: list[Example]


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Every hour of every series: its inputs, then what came."""
    examples = [*examples_of(load(DATA, wide=False, count=SERIES, hours=HOURS))]
    records = list[Record]()
    for number, example in enumerate(examples):
        x, y = example.examples
        for fields in ({"id": number, "x": x.tolist()}, {"id": number, "y": y.tolist()}):
            key, offset = example.task.encode(), len(records)
            records.append(Record("tasks", 0, offset, offset, key, json.dumps(fields).encode()))
    return Asked(records, examples)


def configured() -> Config:
    """That of `streammeta reproduce m4`, with answers."""
    config = config_of(LEARNERS["moml"], SERIES)
    state = config.state.model_copy(update={"checkpoint_events": 40, "checkpoint_seconds": 1000.0})
    predict = config.predict.model_copy(update={"output_topic": "answers"})
    return config.model_copy(update={"state": state, "predict": predict})


@pytest.fixture(scope="module")
def calm(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[Outcome]]:
    """The undisturbed life, whose steps tell their predictions."""
    told: list[Outcome] = []
    blueprint = build_blueprint(configured(), predicts=True)
    world = World(asked.records, tmp_path_factory.mktemp("calm"), configured(), learner=blueprint)
    assert world.live(observers=(told.append,))
    return world, told


def smape(values: Sequence[float], forecasts: Sequence[float]) -> float:
    """The mean of 200 |y − f| / (|y| + |f|), in percent."""
    y, f = np.array(values), np.array(forecasts)
    return float(np.mean(200 * np.abs(y - f) / (np.abs(y) + np.abs(f))))


def in_units(example: Example, scaled: float) -> float:
    """A number of the network in the unit of the series."""
    return scaled * example.scale + example.level


def forecasts_of(asked: Asked, values: dict[int, bytes]) -> tuple[list[float], list[float], float]:
    """What came and what was answered, in units; the fading mean of the squared errors, as the daemon's."""
    came, answered, loss = [], [], Fading()
    seen: dict[str, int] = {}
    for number, example in enumerate(asked.examples):
        seen[example.task] = seen.get(example.task, 0) + 1
        answer = json.loads(values[2 * number])
        assert answer["id"] == number
        if seen[example.task] <= SUPPORT:
            continue  # nothing is judged yet
        assert answer["at"] == "adapted"
        y, predicted = example.examples.y.item(), answer["y"][0][0]
        came.append(in_units(example, y))
        answered.append(in_units(example, predicted))
        loss = loss.fold(float(np.float32(np.float32(predicted) - np.float32(y)) ** 2))
    return came, answered, loss.mean


@NEEDS_DATA
def test_the_answers_are_what_is_judged(asked: Asked, calm: tuple[World, list[Outcome]]) -> None:
    """Their sMAPE, and their mean loss, are those of the predictions that are judged before learning."""
    world, told = calm
    values = {asked.offset: answer.value or b"" for asked, answer in world.answered}
    came, answered, loss = forecasts_of(asked, values)
    judged = [
        in_units(example, row.predictions.flatten()[1].item())
        for example, row in zip(_judged(asked), rows_of(told), strict=True)
        if row.predictions is not None
    ]
    assert len(judged) == len(answered) == len(asked.examples) - SERIES * SUPPORT
    assert smape(came, answered) == pytest.approx(smape(came, judged), rel=1e-5)
    assert loss == pytest.approx(world.checkpoint().progress.prequential.adapted.mean, rel=1e-4)
    assert smape(came, answered) < 60


def _judged(asked: Asked) -> list[Example]:
    """The examples that complete an episode."""
    seen: dict[str, int] = {}
    found = []
    for example in asked.examples:
        seen[example.task] = seen.get(example.task, 0) + 1
        if seen[example.task] > SUPPORT:
            found.append(example)
    return found


@NEEDS_DATA
def test_killed_at_twenty_moments(asked: Asked, calm: tuple[World, list[Outcome]], tmp_path: Path) -> None:
    """Every request is answered, an answer written twice has the same bytes."""
    reference, draws = calm[0], random.Random(20)
    world = World(asked.records, tmp_path, configured(), learner=reference.learner)
    killed = 0
    while killed < KILLS:
        length = draws.randint(20, 120)
        assert not world.live(fuse=Fuse(length), batch=lambda: draws.randint(1, 60), arrives=_half(draws))
        killed += 1
    assert world.live(batch=lambda: draws.randint(1, 60))
    assert len(world.answered) > len(reference.answered)
    assert {(a.offset, b.value, b.headers) for a, b in world.answered} == {
        (a.offset, b.value, b.headers) for a, b in reference.answered
    }
    assert len(reference.answered) == len(asked.examples)


def _half(draws: random.Random) -> Any:
    return lambda: draws.random() < 0.5


@NEEDS_DATA
def test_through_a_broker_and_killed(
    asked: Asked, calm: tuple[World, list[Outcome]], tansu: Broker, tmp_path: Path
) -> None:
    """The bytes of the undisturbed life in one process, whoever is killed; the output topic is made."""
    topic, output = tansu.create(fresh("m4"), 1), fresh("answers")
    with closing(KafkaProducer(bootstrap_servers=tansu.bootstrap_servers)) as producer:
        for record in asked.records:
            producer.send(topic, key=record.key, value=record.value)
        producer.flush()
    config = configured()
    settings = {
        "kafka.bootstrap_servers": tansu.bootstrap_servers,
        "kafka.topic": topic,
        "predict.output_topic": output,
        "model.factory": config.model.factory,
        "algorithm.inner_lr": config.algorithm.inner_lr,
        "algorithm.beta": LEARNERS["moml"].algorithm["beta"],
        "outer.name": "adam",
        "outer.lr": config.outer.lr,
        "events.kind": "examples",
        "events.support": SUPPORT,
        "events.query": 1,
        "state.checkpoint_events": 40,
        "engine.compile": "off",
        "log.format": "json",
    }
    with Daemon(tmp_path / "state", settings) as daemon:
        daemon.run_with(signal.SIGKILL, 2, len(asked.examples) - SERIES, random.Random(4))
    found = answers_in(tansu, output)
    values = {record.offset: answer.value for record, answer in calm[0].answered}
    assert {(dict(one.headers)[SOURCE].decode(), one.key, one.value) for one in found} == {
        (f"{topic}/0/{offset}", asked.records[offset].key, value) for offset, value in values.items()
    }
    came, answered, loss = forecasts_of(
        asked, {int(dict(one.headers)[SOURCE].rpartition(b"/")[2]): one.value for one in found}
    )
    with closing(LmdbStore(tmp_path / "state" / "lmdb", readonly=True)) as store:
        meta = store.load()
    assert meta is not None
    assert loss == pytest.approx(unpack(meta).progress.prequential.adapted.mean, rel=1e-4)
    assert smape(came, answered) < 60


def answers_in(broker: Broker, topic: str) -> list[Any]:
    """All records of the topic, which has one partition."""
    place = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=broker.bootstrap_servers)) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end, found = consumer.end_offsets([place])[place], list[Any]()
        while consumer.position(place) < end:
            found += [record for batch in consumer.poll(500).values() for record in batch]
    return found
