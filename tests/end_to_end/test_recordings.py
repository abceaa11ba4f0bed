"""Recordings as a user makes them: killed on the way, replayed to the same bits, put back on a topic once."""

import json
import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.protocol.consumer.offsets import OffsetSpec
from safetensors.numpy import load_file

from streammeta.events import Array, Record
from streammeta.recording.manifest import read_manifest
from streammeta.stream.kafka.source import KafkaSource
from tests.brokers.broker import DEADLINE_SECONDS, Broker, eventually, fresh
from tests.end_to_end.program import Daemon, running, same_bits, streammeta, succeed, wait_until
from tests.recording.samples import read, stream, write
from tests.scripted import make_script
from tests.world import CONFIG

EVENTS = 2000
PARTITIONS = 4
LEARNER = {
    "model.args": "{sizes = [1, 8, 1]}",
    "outer.clip_norm": 10.0,
    "events.batch": 4,
    "state.checkpoint_events": 150,
    "log.format": "json",
}

WORLD = {
    "model.args": "{sizes = [2, 3, 1]}",
    "model.dtype": "float64",
    **{f"algorithm.{name}": getattr(CONFIG.algorithm, name) for name in ("inner_lr", "beta")},
    **{f"outer.{name}": getattr(CONFIG.outer, name) for name in ("lr", "momentum", "clip_norm")},
    "state.checkpoint_events": 150,
    "log.format": "json",
}
"""The learner of the scripted world."""


def produce(broker: Broker, events: int) -> str:
    """A new topic of four partitions with so many events."""
    topic = broker.create(fresh("recorded"), PARTITIONS)
    stream = ["--tasks", 30, "--shots", 5, "--query", 5, "--seed", 6, "--events", events]
    succeed("produce", "sinusoid", *stream, "--bootstrap-servers", broker.bootstrap_servers, "--topic", topic)
    return topic


def where(broker: Broker, topic: str) -> dict[str, object]:
    """The settings that name a topic."""
    return {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}


def flags(settings: dict[str, object]) -> list[str]:
    """Settings as flags."""
    return [f"--set={key}={value}" for key, value in settings.items()]


def consumed(broker: Broker, topic: str) -> list[Record]:
    """What a reader of committed transactions finds, partition by partition."""
    places = {TopicPartition(topic, partition): OffsetSpec.LATEST for partition in range(PARTITIONS)}
    # Read committed: a sender that was killed leaves a transaction open, behind which nothing is told.
    ends = broker.admin.list_partition_offsets(places, 1)
    source, records = KafkaSource(broker.settings(topic=topic)), list[Record]()
    try:
        source.start({})

        def reached() -> bool:
            records.extend(source.poll(0.1))
            return all(source.positions()[place.partition] >= end.offset for place, end in ends.items())

        eventually(reached)
    finally:
        source.close()
    return sorted(records, key=lambda record: (record.partition, record.offset))


def untouched(records: Sequence[Record]) -> list[tuple[object, ...]]:
    """All of them but topic and offset, partition by partition, in their order there."""
    by_partition = sorted(records, key=lambda record: record.partition)
    return [(r.partition, r.timestamp_ms, r.key, r.value, r.headers) for r in by_partition]


def replayed(recording: Path, learner: dict[str, object], state: Path) -> dict[str, Array]:
    """The recording replayed into a new state: its export."""
    succeed("replay", recording, *flags(learner | {"state.dir": state}))
    return exported(state)


def exported(state: Path) -> dict[str, Array]:
    """All that the state exports."""
    output = state.with_suffix(".safetensors")
    succeed("export", "--state", state, "--all-tasks", "--output", output)
    return load_file(output)


def test_ten_kills_and_two_replays_are_three_states_of_the_same_bits(tansu: Broker, tmp_path: Path) -> None:
    """Four partitions, several events an iteration, SIGKILL at ten random moments, all with --record."""
    topic, recording = produce(tansu, EVENTS), tmp_path / "recording"
    settings = LEARNER | where(tansu, topic)
    with Daemon(tmp_path / "live", settings, flags=("--record", str(recording))) as live:
        live.run_with(signal.SIGKILL, 10, EVENTS, random.Random(7))
        assert sum(live.counts().values()) == EVENTS
        states = [live.export()]
    assert len(read(recording)) == EVENTS
    states += [replayed(recording, LEARNER, tmp_path / name) for name in ("first", "second")]
    assert same_bits(states[0], states[1])
    assert same_bits(states[1], states[2])
    assert untouched(read(recording)) == untouched(consumed(tansu, topic))


def sent(broker: Broker, events: int) -> str:
    """A new topic of four partitions with events of the scripted world, whose step is compiled already."""
    topic = broker.create(fresh("compiled"), PARTITIONS)
    records = make_script(6, partitions=PARTITIONS, tasks=30, events=events, poison=0.0)
    futures = [
        broker.producer.send(topic, r.value, r.key, [*r.headers], partition=r.partition) for r in records
    ]
    for future in futures:
        future.get(timeout=DEADLINE_SECONDS)
    return topic


def test_kills_around_compiled_steps_and_two_replays_end_in_the_same_bits(
    tansu: Broker, tmp_path: Path, compiled_world: Path
) -> None:
    """The switch comes where it comes; the recording says where, and who learns it again."""
    events = 4 * 300
    topic, recording = sent(tansu, events), tmp_path / "recording"
    learner = WORLD | {"engine.compile": "auto", "engine.cache_dir": compiled_world}
    draws, states = random.Random(11), []
    with Daemon(tmp_path / "live", learner | where(tansu, topic), flags=("--record", str(recording))) as live:
        for life in range(4):
            live.start()
            live.wait_for_events(draws.randint(1, 200) + 250 * life)
            live.send(signal.SIGKILL)
            live.wait()
        live.run_to_end()
        assert sum(live.counts().values()) == events
        states.append(live.export())
    (name,) = read_manifest(recording).compiled
    assert (compiled_world / f"{name}.so").exists()
    states += [replayed(recording, learner, tmp_path / name) for name in ("first", "second")]
    assert same_bits(states[0], states[1])
    assert same_bits(states[1], states[2])
    elsewhere = learner | {"state.dir": tmp_path / "elsewhere", "model.threads": 2}
    refused = streammeta("replay", recording, *flags(elsewhere))
    assert refused.returncode == 65
    assert f"compiled step {name}, which cannot be had here (model.threads was 1, here 2)" in refused.stderr
    told = streammeta("replay", recording, *flags(elsewhere | {"engine.compile": "off"}))
    assert (told.returncode, "compiled steps not used" in told.stderr) == (0, True)


def test_a_replay_goes_on_from_a_checkpoint(tansu: Broker, tmp_path: Path) -> None:
    """A copy of a state in the middle of the recording, and what came after it, end in the same bits."""
    topic, recording = produce(tansu, 600), tmp_path / "recording"
    settings = LEARNER | where(tansu, topic)
    with Daemon(tmp_path / "live", settings, flags=("--record", str(recording))) as live:
        live.start()
        live.wait_for_events(200)
        live.send(signal.SIGTERM)
        assert live.wait() == 0
        middle = shutil.copytree(live.state, tmp_path / "middle")
        live.run_to_end()
        whole = live.export()
        refused = streammeta("replay", recording, *flags(LEARNER | {"state.dir": live.state}))
        assert (refused.returncode, refused.stdout) == (65, "")
        assert "not a replay of this recording" in refused.stderr
    state = tmp_path / "again"
    arguments = ["replay", recording, "--from-state", middle, *flags(LEARNER | {"state.dir": state})]
    told = json.loads(succeed(*arguments, "--format", "json"))
    assert 0 < told["outcomes"]["learned"] < 600
    assert same_bits(exported(state), whole)
    assert json.loads(succeed(*arguments, "--format", "json"))["outcomes"]["learned"] == 0


def test_a_killed_recorder_goes_on(tansu: Broker, tmp_path: Path) -> None:
    """SIGKILL three times while records come: no gap, no duplicate. A part that was edited is refused."""
    topic, recording = produce(tansu, EVENTS), tmp_path / "recording"
    arguments = ["record", *flags(where(tansu, topic)), "--output", str(recording)]
    for rows in (1, EVENTS + 1, EVENTS + 200):
        with running(*arguments):
            wait_until(lambda rows=rows: recording_rows(recording) >= rows, f"{rows} rows", every_seconds=0.2)  # type: ignore[misc]
        tansu.write(topic, [b"more"] * 150, partition=1)
    told = json.loads(succeed(*arguments, "--until-end", "--summary", "json"))
    assert told["rows"] == EVENTS + 450
    assert untouched(read(recording)) == untouched(consumed(tansu, topic))
    part = recording / "part-000000.parquet"
    part.write_bytes(part.read_bytes().replace(b"more", b"less"))
    refused = streammeta("replay", recording, "--dry-run")
    assert refused.returncode == 65
    assert "part-000000.parquet cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr


def recording_rows(recording: Path) -> int:
    """How many rows a reader sees now."""
    return len(read(recording)) if (recording / "manifest.json").exists() else 0


@pytest.mark.kafka
def test_put_back_on_a_topic_once(kafka_broker: Broker, tmp_path: Path) -> None:
    """Apache Kafka, SIGKILL three times on the way: each record once, in its partition, byte for byte."""
    odd = Record("tasks", 2, 2000, 1_500_500, None, None, (("caf\udce9", None), ("ce_id", b"\x00")))
    rows = sorted([*stream(EVENTS), odd], key=lambda record: record.timestamp_ms)
    recording = write(tmp_path / "recording", rows)
    target = kafka_broker.create(fresh("back"), PARTITIONS, retention_ms="-1")
    arguments = ["replay", str(recording), "--to-kafka", target]
    arguments += flags({"kafka.bootstrap_servers": kafka_broker.bootstrap_servers})
    plan = json.loads(succeed(*arguments, "--dry-run", "--format", "json", "--speed", "250"))
    assert (plan["records"], plan["seconds"]) == (EVENTS + 1, pytest.approx(EVENTS / 250, abs=0.1))
    for seen in (100, 500, 900):
        with running(*arguments, "--speed", "250"):
            eventually(lambda seen=seen: len(consumed(kafka_broker, target)) >= seen)  # type: ignore[misc]
    assert len(consumed(kafka_broker, target)) < EVENTS
    told = json.loads(succeed(*arguments, "--speed", "max", "--format", "json"))
    assert told["done"]
    assert 0 < told["sent"] < EVENTS
    assert untouched(consumed(kafka_broker, target)) == untouched(rows)
    assert "--again puts them there once more" in succeed(*arguments, "--speed", "max")
    assert len(consumed(kafka_broker, target)) == len(rows)
