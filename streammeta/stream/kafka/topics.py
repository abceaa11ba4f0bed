"""Topics before use: that they exist, and that we may do with them what we shall need.

All questions go through one `KafkaAdminClient`, whose requests time out after some seconds; an answer that
only means "not yet" (no leader, no coordinator) is asked for again until the connection deadline.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streammeta.errors import BrokerRefused, BrokerUnavailable, TopicMissing
from streammeta.stream.kafka.access import KafkaSettings, always, connected
from streammeta.stream.kafka.refusals import missing_right, named, words
from streammeta.stream.kafka.waits import QUESTION_SECONDS, within

T = TypeVar("T")

BROKER_MESSAGE_BYTES = 1_048_588
"""Kafka's default of `max.message.bytes`."""
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the broker describes it.

    Attributes:
        rights: None where the broker does not tell.
        id: A UUID that no other topic has, also none of the same name; "" where the broker gives none.
    """

    name: str
    partitions: frozenset[int]
    rights: frozenset[str] | None
    id: str = ""


def id_text(topic_id: UUID | str | None) -> str:
    """A topic's id as text; "" for none, which old brokers say with zeros.

    >>> id_text(UUID(int=0)), id_text(UUID(int=255))
    ('', '00000000-0000-0000-0000-0000000000ff')
    """
    text = str(topic_id or "")
    return "" if text == str(UUID(int=0)) else text


class Administration:
    """Asks and orders through one admin client, and says in our errors what goes wrong."""

    def __init__(self, admin: Any, settings: KafkaSettings, keep_going: Callable[[], bool] = always) -> None:
        self._admin, self._settings, self._keep_going = admin, settings, keep_going

    def require_readable(self, name: str) -> Topic:
        """The topic `name`, which exists and which we may read.

        Raises:
            TopicMissing: with the command that creates it.
            BrokerRefused: with the command that grants the right.
        """
        return self._require(name, "Read")

    def require_writable(self, name: str) -> Topic:
        """The topic `name`, which exists and to which we may write. Raises as `require_readable`."""
        return self._require(name, "Write")

    def _require(self, name: str, operation: str) -> Topic:
        topic = self.find(name, operation)
        if topic is None:
            raise TopicMissing(self._missing(name))
        if topic.rights is not None and operation.upper() not in topic.rights:
            raise missing_right(self._settings, operation, "topic", name)
        return topic

    def _missing(self, name: str) -> str:
        servers = self._settings.bootstrap_servers
        return (
            f"topic {name!r} does not exist at {servers}. "
            f"Create it: kafka-topics --bootstrap-server {servers} --create --topic {name} --partitions 4"
        )

    def find(self, name: str, operation: str = "Describe") -> Topic | None:
        """The topic, once it has leaders; None when it does not exist.

        Raises:
            BrokerRefused: not even its existence may be known; `operation` is the right to ask for.
        """

        def look() -> Topic | None:
            (found,) = self._admin.describe_topics([name])
            error = errors.for_code(found["error_code"])
            if error is errors.UnknownTopicOrPartitionError:
                return None
            if error is errors.TopicAuthorizationFailedError:
                raise missing_right(self._settings, operation, "topic", name)
            if error is not errors.NoError:
                raise error(name)
            if any(partition["leader_id"] < 0 for partition in found["partitions"]):
                raise errors.LeaderNotAvailableError(name)
            rights = found["authorized_operations"]
            numbers = frozenset(int(p["partition_index"]) for p in found["partitions"])
            return Topic(name, numbers, frozenset(rights) if rights else None, id_text(found.get("topic_id")))

        return self._ask(look)

    def require_group(self) -> None:
        """That offsets may be committed for the group.

        A broker without a coordinator passes: only lag tools miss it.

        Raises:
            BrokerRefused: with the command that grants the right.
        """
        group = self._settings.group_id
        try:
            answer = self._ask(lambda: self._admin.describe_groups([group]), patience_seconds=2.0)
            rights = answer[group].get("authorized_operations")
        except errors.GroupAuthorizationFailedError as error:
            raise missing_right(self._settings, "Read", "group", group) from error
        except (errors.KafkaError, BrokerUnavailable, ValueError):
            return  # ValueError: the embedded broker answers with rights that Kafka does not define
        if rights and "READ" not in rights:
            raise missing_right(self._settings, "Read", "group", group)

    def ensure(self, name: str, partitions: int = -1, configs: Mapping[str, str] | None = None) -> Topic:
        """The topic, created if it is missing (`partitions` -1: the broker's default), ready for use.

        An existing topic is left as it is; others may create it at the same time.

        Raises:
            BrokerRefused: it is missing and we may not create it.
        """
        topic = self.find(name, "Write")
        if topic is None:
            self._create(name, partitions, dict(configs or {}))
            topic = self._ask(lambda: self._created(name))
        return topic

    def _create(self, name: str, partitions: int, configs: dict[str, str]) -> None:
        wanted = {name: {"num_partitions": partitions, "configs": configs}}
        try:
            self._ask(lambda: self._admin.create_topics(wanted))
        except errors.TopicAlreadyExistsError:
            return
        except errors.AuthorizationError as error:
            raise BrokerRefused(
                f"{self._missing(name)} ({missing_right(self._settings, 'Create', 'topic', name)})"
            ) from error

    def _created(self, name: str) -> Topic:
        topic = self.find(name)
        if topic is None:
            raise errors.LeaderNotAvailableError(name)
        return topic

    def configs(self, name: str) -> dict[str, str]:
        """The topic's settings; none where we may not know."""
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        try:
            answer = self._ask(lambda: self._admin.describe_configs([resource], config_filter="all"))
            return {key: str(entry["value"]) for key, entry in answer["topic"][name].items()}
        except (errors.KafkaError, BrokerUnavailable, KeyError, ValueError, TypeError, AttributeError):
            return {}

    def max_message_bytes(self, name: str) -> int:
        """Largest batch that the topic takes; the broker's default where we may not know."""
        said = self.configs(name).get("max.message.bytes", "")
        return int(said) if said.isdecimal() else BROKER_MESSAGE_BYTES

    def retention_ms(self, name: str) -> int:
        """How long the topic keeps records, by their timestamps; -1: for ever, or we may not know."""
        configs = self.configs(name)
        said = configs.get("retention.ms", "")
        return int(said) if "delete" in configs.get("cleanup.policy", "") and said.isdecimal() else -1

    def _ask(self, question: Callable[[], T], patience_seconds: float | None = None) -> T:
        """The answer, asked for again while it is "not yet".

        Raises:
            BrokerUnavailable: still none at the deadline.
            KafkaError: a refusal that the caller names.
        """
        seconds = self._settings.connect_timeout_seconds if patience_seconds is None else patience_seconds
        deadline = time.monotonic() + seconds
        while True:
            try:
                return within(QUESTION_SECONDS, question, "question")
            except errors.KafkaError as error:
                if not error.retriable:
                    raise
                if time.monotonic() > deadline or not self._keep_going():
                    raise BrokerUnavailable(self._no_answer(error)) from error
            time.sleep(_PAUSE_SECONDS)

    def _no_answer(self, error: Exception) -> str:
        return (
            f"{self._settings.bootstrap_servers} was reached but did not answer: {error}. Check the broker's "
            "log, and that its advertised.listeners can be reached from here."
        )


@contextmanager
def administered(
    settings: KafkaSettings, keep_going: Callable[[], bool] = always
) -> Iterator[Administration]:
    """An `Administration` over a connection of its own.

    Raises:
        BrokerUnavailable, BrokerRefused, ConfigError: as `connect`; also what kafka-python raises meanwhile.
    """
    with connected(KafkaAdminClient, settings, keep_going) as admin:
        try:
            yield Administration(admin, settings, keep_going)
        except errors.KafkaError as error:
            raise named(error, settings) or BrokerUnavailable(
                f"{settings.bootstrap_servers} does not do what it is asked: {words(error)}"
            ) from error


def ensure_topic(
    settings: KafkaSettings,
    name: str,
    partitions: int = -1,
    configs: Mapping[str, str] | None = None,
    keep_going: Callable[[], bool] = always,
) -> Topic:
    """`Administration.ensure` over a connection of its own. Raises as `administered`."""
    with administered(settings, keep_going) as administration:
        return administration.ensure(name, partitions, configs)


def topic_of_events(settings: KafkaSettings, keep_going: Callable[[], bool] = always) -> Topic:
    """What the configuration names, once it can be read and offsets may be committed for the group.

    Raises:
        BrokerUnavailable, BrokerRefused, TopicMissing: named with the remedy.
    """
    with connected(KafkaAdminClient, settings, keep_going) as admin:
        administration = Administration(admin, settings, keep_going)
        topic = administration.require_readable(settings.topic)
        administration.require_group()
        return topic
