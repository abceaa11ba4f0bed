"""Real brokers under test, the settings to reach them, and the few things that a test does to a topic."""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition, errors
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewPartitions,
    ResourcePattern,
    ResourceType,
)

KAFKA = Path(__file__).parents[3] / "shared" / "kafka" / "kafka"
DEADLINE_SECONDS = 120.0
"""Of what comes soon: a machine may be many times slower than this one."""


@dataclass(frozen=True)
class Settings:
    """The `[kafka]` section as the stream reads it."""

    bootstrap_servers: str
    topic: str = "tasks"
    group_id: str = "streammeta-tests"
    start: Literal["earliest", "latest"] = "earliest"
    on_lost_offsets: Literal["fail", "earliest", "latest"] = "fail"
    dead_letter_topic: str = "tasks.dlq"
    max_event_bytes: int = 1 << 20
    max_batch_bytes: int = 1 << 26
    on_corrupt: Literal["fail", "skip"] = "fail"
    connect_timeout_seconds: float = 20.0
    refused_grace_seconds: float = 60.0
    client: Mapping[str, Any] = field(default_factory=dict)


def eventually(holds: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """What `holds` returns as soon as it is true; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, f"not so within {seconds} s: {holds}"
        time.sleep(0.02)
    return result


def absence() -> str:
    """Why there can be no Apache Kafka here; "" where there can."""
    if not KAFKA.exists():
        return f"no Apache Kafka beside the repository ({KAFKA.parent.name} folder is absent)"
    return "" if shutil.which("java") else "Apache Kafka needs Java 17"


def fresh(name: str) -> str:
    """A topic name that no other test has."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


class Broker:
    """A broker that serves at `bootstrap_servers`, with an admin client and a producer for the test's use."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, reconnect_backoff_max_ms=100)
        self.producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            max_request_size=1 << 28,
            metadata_max_age_ms=500,
            reconnect_backoff_max_ms=100,
        )

    def close(self) -> None:
        """Let go of the clients."""
        self.producer.close(timeout=1)
        self.admin.close()

    def settings(self, **changes: Any) -> Settings:
        """Settings for this broker."""
        return Settings(**({"bootstrap_servers": self.bootstrap_servers} | changes))

    def create(self, topic: str, partitions: int = 1, **configs: str) -> str:
        """Create a topic that keeps its records, whatever their times, and wait until it has leaders."""
        named = {name.replace("_", "."): value for name, value in ({"retention_ms": "-1"} | configs).items()}
        wanted = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": named}}
        eventually(lambda: self._created(wanted))
        return topic

    def _created(self, wanted: dict[str, Any]) -> bool:
        """Whether it was made; just after a crash the admin client may not have found its broker again."""
        try:
            self.admin.create_topics(wanted, wait_for_metadata=True)
        except errors.RetriableError:
            return False
        return True

    def write(
        self, topic: str, values: Sequence[bytes], partition: int = 0, timestamp_ms: int = 5_000
    ) -> None:
        """Append records, acknowledged; the key names the partition, a header has a fixed value."""
        sent = [
            self.producer.send(
                topic,
                value=value,
                key=b"task-%d" % partition,
                headers=[("ce_id", b"\x00\xff")],
                partition=partition,
                timestamp_ms=timestamp_ms + i,
            )
            for i, value in enumerate(values)
        ]
        for future in sent:
            future.get(timeout=DEADLINE_SECONDS)

    def grow(self, topic: str, partitions: int) -> None:
        """Give the topic more partitions."""
        self.admin.create_partitions({topic: NewPartitions(partitions)})
        self.admin.wait_for_topics([topic])

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below an offset, as retention does."""
        self.admin.delete_records({TopicPartition(topic, partition): before})

    def recreate(self, topic: str, partitions: int) -> None:
        """Delete the topic and make an empty one of the same name."""
        eventually(lambda: self._deleted(topic))
        eventually(lambda: self._created_again(topic, partitions))

    def _created_again(self, topic: str, partitions: int) -> bool:
        """Whether it could be: the embedded broker may still know the name of what it no longer describes."""
        with suppress(errors.TopicAlreadyExistsError):
            self.create(topic, partitions)
            return True
        return False

    def _deleted(self, topic: str) -> bool:
        """Ask for it, again if the last time had no effect; whether it is gone."""
        with suppress(errors.UnknownTopicOrPartitionError):
            self.admin.delete_topics([topic])
        return bool(self.admin.describe_topics([topic])[0]["error_code"] == 3)


def producer_of(broker: Broker, codec: str) -> KafkaProducer:
    """One that compresses, and sends large records."""
    return KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, compression_type=codec, max_request_size=1 << 28
    )


class ApacheKafka:
    """The process of a real Apache Kafka. Its listeners: PLAINTEXT (may do all), SASL and TLS (ACLs)."""

    def __init__(self, data: Path, *properties: str) -> None:
        """`properties`: of the broker, each KEY=VALUE."""
        self.data = data
        self._set = [part for pair in properties for part in ("--set", pair)]
        self.start()
        self.broker = Broker(self.facts["PLAINTEXT"])

    def start(self) -> None:
        """Start, or start again with the same data at the same addresses; about 4 s."""
        self._process = subprocess.Popen(
            [KAFKA, "start", "--data", self.data, "--secure", "--acl", *self._set],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.facts: dict[str, Any] = json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        """Crash it."""
        self._process.kill()
        self._reap()

    def hang(self) -> None:
        """Let it keep its connections and say nothing, until `wake`."""
        os.kill(self._process.pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED)

    def wake(self) -> None:
        """End the hang."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it."""
        self.broker.close()
        self._process.terminate()
        self._reap()

    def _reap(self) -> None:
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def login(self, **changes: Any) -> dict[str, Any]:
        """The `[kafka.client]` table of the user alice at the SASL_PLAINTEXT port."""
        return {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": "alice",
            "sasl_plain_password": self.facts["users"]["alice"],
        } | changes

    def grant(self, kind: str, name: str, *operations: str, user: str = "alice") -> None:
        """Allow a user operations ("READ", …) on a "TOPIC" or "GROUP"."""
        self.broker.admin.create_acls([_acl(kind, name, operation, user) for operation in operations])

    def revoke(self, kind: str, name: str, operation: str, user: str = "alice") -> None:
        """Take a granted right back."""
        self.broker.admin.delete_acls([_acl(kind, name, operation, user)])


def _acl(kind: str, name: str, operation: str, user: str) -> Any:
    pattern = ResourcePattern(ResourceType[kind], name, ACLResourcePatternType.LITERAL)
    return ACL(f"User:{user}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)
