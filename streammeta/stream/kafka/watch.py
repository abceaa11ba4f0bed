"""Whether the broker serves us, and where the partitions end: asked every few seconds, in its own thread.

A consumer cannot tell: `poll` raises nothing where a login is refused, works through its buffers while the
broker is dead, and knows an end as old as its last fetch. So a client beside it asks each leader for the
ends, under the same login and rights; after any failure it begins with a new connection, which shows what a
connection that lasts would hide. Told within `FRESH_SECONDS`.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kafka import KafkaAdminClient, TopicPartition, errors
from kafka.protocol.consumer.offsets import OffsetSpec

from streammeta.errors import BrokerUnavailable, LoginRefused, StreammetaError
from streammeta.stream.kafka.access import Connected, KafkaSettings, client_config, connect
from streammeta.stream.kafka.refusals import named, words
from streammeta.stream.kafka.waits import close_client, within

LOOK_SECONDS = 2.0
"""The pause between two questions."""
AGAIN_SECONDS = 0.5
"""The pause after one that failed: another broker of the cluster may answer before the last answer is old."""
ANSWER_SECONDS = 3.0
"""How long an answer, or a connection, may take."""
LEADER_SECONDS = 0.75
"""How long one of several leaders is waited for at least: those that answer must be heard."""
FRESH_SECONDS = LOOK_SECONDS + ANSWER_SECONDS + 1.0
"""How long an answer counts."""
_UNCOMMITTED, _COMMITTED = 0, 1
_NEWEST_RECORD_SECONDS = 10.0
"""How often the newest timestamp is asked for: the broker may have to look through a segment."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last looks showed.

    Attributes:
        at: Monotonic seconds of the last answer.
        ends: Partition -> the offset after its last record.
        readable: Partition -> the offset up to which no open transaction holds records back.
        blocked: Partition -> Unix time since when `readable` has stood below the end, at the same offset.
        newest_ms: Partition -> the latest timestamp in it, where the broker tells.
        leaderless: Partitions of which no leader answered.
        cause: Why there was no answer, in words; "" where there was one.
        refusal: The login or the certificate was refused, since `refused_at`.
    """

    at: float
    ends: Mapping[int, int] = field(default_factory=dict)
    readable: Mapping[int, int] = field(default_factory=dict)
    blocked: Mapping[int, float] = field(default_factory=dict)
    newest_ms: Mapping[int, int] = field(default_factory=dict)
    leaderless: frozenset[int] = frozenset()
    cause: str = ""
    refusal: LoginRefused | None = None
    refused_at: float = 0.0


class Watch:
    """Asks until it is closed. `seen` is replaced whole: any thread may read it."""

    def __init__(self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._partitions: frozenset[int] = frozenset()
        self._client: Connected | None = None
        self._newest_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-watch", daemon=True)
        self.seen = Seen(clock())

    def follow(self, ends: Mapping[int, int]) -> None:
        """Watch these partitions too, whose ends are known; begins with the first call."""
        self._partitions |= set(ends)
        self.seen = replace(self.seen, ends={**self.seen.ends, **ends})
        if not self._thread.is_alive() and not self._ended.is_set():
            self._thread.start()

    @property
    def fresh(self) -> bool:
        """Whether the broker has answered lately."""
        return self._clock() - self.seen.at < FRESH_SECONDS

    @property
    def throttled_until(self) -> float:
        """As `Connected.throttled_until`."""
        client = self._client
        return client.throttled_until if client is not None else 0.0

    def close(self) -> None:
        """Ask no more. May be called twice."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(ANSWER_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._ended.wait(LOOK_SECONDS if self._look() else AGAIN_SECONDS)
        self._hang_up()

    def _look(self) -> bool:
        """One question; whether it was answered, if not by every leader."""
        try:
            if self._client is None:
                self._client = self._connected()
            client = self._client.client
            self.seen = within(ANSWER_SECONDS, lambda: self._ask(client), "look")
        except Exception as error:  # noqa: BLE001 - whatever ends a look, the next one begins anew
            self._failed(error)
            self._hang_up()
            return False
        if self.seen.leaderless:  # a connection that was once given up may not be tried again for long
            self._hang_up()
        return True

    def _connected(self) -> Connected:
        patience = {"bootstrap_timeout_ms": int(ANSWER_SECONDS * 1000)}
        config = client_config(KafkaAdminClient, self._settings, fixed=patience)
        return connect(KafkaAdminClient, self._settings, config, lambda: not self._ended.is_set())

    def _hang_up(self) -> None:
        connected, self._client = self._client, None
        if connected is not None:
            close_client(connected.client)

    def _failed(self, error: Exception) -> None:
        known = error if isinstance(error, StreammetaError) else named(error, self._settings)
        if isinstance(known, LoginRefused):
            since = self.seen.refused_at if self.seen.refusal is not None else self._clock()
            self.seen = replace(self.seen, cause=str(known), refusal=known, refused_at=since)
        else:
            cause = str(error) if isinstance(error, BrokerUnavailable) else words(error)
            self.seen = replace(self.seen, cause=cause, refusal=None)

    def _ask(self, client: Any) -> Seen:
        """One answer of every leader; those that do not answer are told.

        Raises:
            KafkaError: none of them answered.
        """
        leaders, ends, readable = self._leaders(client), dict[int, int](), dict[int, int]()
        failure: errors.KafkaError | None = None
        seconds = (
            ANSWER_SECONDS if len(leaders) < 2 else max(LEADER_SECONDS, ANSWER_SECONDS / (len(leaders) + 1))
        )
        for leader, partitions in leaders.items():
            try:
                if leader < 0:
                    raise errors.LeaderNotAvailableError(sorted(partitions))
                ends |= self._offsets(client, partitions, _UNCOMMITTED, seconds)
                readable |= self._offsets(client, partitions, _COMMITTED, seconds)
            except errors.KafkaError as error:
                failure = error
        if failure is not None and not ends:
            raise failure
        leaderless = frozenset().union(*leaders.values()) - set(ends) if ends else frozenset()
        return Seen(
            self._clock(),
            ends,
            readable,
            self._blocked(ends, readable),
            self._newest(client, ends),
            leaderless,
        )

    def _leaders(self, client: Any) -> Mapping[int, set[int]]:
        (topic,) = client.describe_topics([self._settings.topic])
        found: defaultdict[int, set[int]] = defaultdict(set)
        for partition in topic["partitions"]:
            if partition["partition_index"] in self._partitions:
                found[partition["leader_id"]].add(partition["partition_index"])
        return found

    def _offsets(
        self, client: Any, partitions: Collection[int], isolation: int, seconds: float
    ) -> dict[int, int]:
        topic = self._settings.topic
        wanted = {TopicPartition(topic, partition): OffsetSpec.LATEST for partition in partitions}
        answer = client.list_partition_offsets(wanted, isolation, timeout_ms=int(seconds * 1000))
        return {place.partition: found.offset for place, found in answer.items()}

    def _blocked(self, ends: Mapping[int, int], readable: Mapping[int, int]) -> dict[int, float]:
        before = self.seen
        return {
            p: before.blocked[p] if p in before.blocked and before.readable.get(p) == offset else time.time()
            for p, offset in readable.items()
            if offset < ends[p]
        }

    def _newest(self, client: Any, ends: Mapping[int, int]) -> Mapping[int, int]:
        if self._clock() - self._newest_at < _NEWEST_RECORD_SECONDS:
            return self.seen.newest_ms
        self._newest_at = self._clock()
        wanted = {TopicPartition(self._settings.topic, p): OffsetSpec.MAX_TIMESTAMP for p in ends}
        try:
            answer = client.list_partition_offsets(wanted, timeout_ms=int(ANSWER_SECONDS * 1000))
        except errors.KafkaError:
            return {}  # older brokers, and the embedded one, do not tell
        return {place.partition: found.timestamp for place, found in answer.items() if found.timestamp >= 0}
