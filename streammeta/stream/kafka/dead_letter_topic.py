"""The dead-letter topic: made where it is missing; which records of the source topic it would not take."""

from collections.abc import Callable
from typing import NamedTuple

from kafka.admin import KafkaAdminClient

from streammeta.stream.kafka.access import KafkaSettings, always, connected
from streammeta.stream.kafka.topics import BROKER_MESSAGE_BYTES, Administration, Topic

HEADROOM_BYTES = 65_536
"""What the headers of a dead letter may add to a record."""


class Limit(NamedTuple):
    """A setting of the dead-letter topic for which records are not kept whole."""

    setting: str
    consequence: str
    remedy: str


def ensure_dead_letter_topic(settings: KafkaSettings, keep_going: Callable[[], bool] = always) -> Topic:
    """The dead-letter topic, writable, created like the source topic and for larger records if missing.

    Raises:
        TopicMissing: the source topic, whose shape is taken.
        BrokerRefused: the right to write, or to create, is missing.
    """
    with connected(KafkaAdminClient, settings, keep_going) as admin:
        administration = Administration(admin, settings, keep_going)
        name = settings.dead_letter_topic
        if administration.find(name, "Write") is None:
            source = administration.require_readable(settings.topic)
            room = (
                max(administration.max_message_bytes(settings.topic), BROKER_MESSAGE_BYTES) + HEADROOM_BYTES
            )
            configs = {"max.message.bytes": str(room), "cleanup.policy": "delete"}
            administration.ensure(name, len(source.partitions), configs)
        return administration.require_writable(name)


def limits_of_dead_letters(settings: KafkaSettings, keep_going: Callable[[], bool] = always) -> list[Limit]:
    """`limits` over a connection of its own. Raises as `connect`."""
    with connected(KafkaAdminClient, settings, keep_going) as admin:
        return limits(Administration(admin, settings, keep_going), settings)


def limits(administration: Administration, settings: KafkaSettings) -> list[Limit]:
    """What to change in the dead-letter topic, so that it takes every record of the source topic whole."""
    name = settings.dead_letter_topic
    configs = administration.configs(name)
    if not configs:
        return []
    alter = f"kafka-configs --bootstrap-server {settings.bootstrap_servers} --alter --topic {name}"
    found = []
    room, largest = (administration.max_message_bytes(each) for each in (name, settings.topic))
    if room < largest:
        found.append(
            Limit(
                f"max.message.bytes={room}",
                f"a record of {settings.topic!r} may have {largest:,} bytes; a larger one than this is kept "
                "without its value",
                f"{alter} --add-config max.message.bytes={largest + HEADROOM_BYTES}",
            )
        )
    if "compact" in (policy := configs.get("cleanup.policy", "")):
        found.append(
            Limit(
                f"cleanup.policy={policy}",
                "of the letters of a task only the last is kept, and a record without a key is kept without "
                "its value",
                f"{alter} --add-config cleanup.policy=delete",
            )
        )
    if (codec := configs.get("compression.type", "producer")) not in ("producer", "zstd"):
        found.append(
            Limit(
                f"compression.type={codec}",
                "a record that was compressed better may be too large, and is kept without its value",
                f"{alter} --add-config compression.type=producer",
            )
        )
    return found
