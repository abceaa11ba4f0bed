"""Checks of the broker: reached, logged in, the rights that the daemon needs, its topic and newest records.

Nothing is created, joined or committed.
"""

from collections.abc import Generator
from typing import NamedTuple

from streammeta.config.kafka import KafkaSection
from streammeta.errors import LostOffsets, StreammetaError
from streammeta.events import Record
from streammeta.programs.doctor.check import Check, fault, ok, warning
from streammeta.state.checkpoint import Checkpoint
from streammeta.stream.kafka.dead_letter_topic import limits
from streammeta.stream.kafka.held import Held, going_on, going_on_anew, held
from streammeta.stream.kafka.newest import newest
from streammeta.stream.kafka.topics import Administration, Topic, administered
from streammeta.wording import counted


class Seen(NamedTuple):
    """What the topic holds now, and the newest of its records."""

    topic: Topic
    holds: dict[int, Held]
    records: list[Record]


def of_stream(kafka: KafkaSection, count: int, output_topic: str = "") -> Generator[Check, None, Seen | None]:
    """The checks, and what was seen; None where the topic cannot be read. `output_topic`: for answers."""
    topic: Topic | None = None
    try:
        with administered(kafka) as administration:
            yield ok("broker", f"{kafka.bootstrap_servers} answers{_as_whom(kafka)}")
            topic = yield from _topic(kafka, administration)
            yield from _rights(kafka, administration, topic)
            if output_topic:
                yield _answers(output_topic, administration)
    except StreammetaError as error:
        yield fault("broker", error)
    if topic is None:
        return None
    try:
        holds = held(kafka, sorted(topic.partitions))
        records = newest(kafka, holds, count)
    except StreammetaError as error:
        yield fault("topic", error)
        return None
    yield _held(kafka, holds, records)
    return Seen(topic, holds, records)


def _as_whom(kafka: KafkaSection) -> str:
    user, protocol = kafka.client.get("sasl_plain_username"), kafka.client.get("security_protocol")
    return (f", {protocol}" if protocol else "") + (f", user {user!r}" if user else "")


def _topic(kafka: KafkaSection, administration: Administration) -> Generator[Check, None, Topic | None]:
    try:
        return administration.require_readable(kafka.topic)
    except StreammetaError as error:
        yield fault("topic", error)
        return None


def _rights(
    kafka: KafkaSection, administration: Administration, topic: Topic | None
) -> Generator[Check, None, None]:
    try:
        administration.require_group()
        yield ok("group", f"offsets may be committed to {kafka.group_id!r}")
    except StreammetaError as error:
        yield fault("group", error)
    try:
        yield _dead_letters(kafka, administration, topic)
    except StreammetaError as error:
        yield fault("dead letters", error)


def _dead_letters(kafka: KafkaSection, administration: Administration, topic: Topic | None) -> Check:
    name = kafka.dead_letter_topic
    if administration.find(name, "Write") is None:
        return ok("dead letters", f"topic {name!r} does not exist yet: the daemon creates it")
    administration.require_writable(name)
    found = limits(administration, kafka) if topic is not None else []
    if found:
        return warning(
            "dead letters",
            f"topic {name!r}: " + "; ".join(f"{each.setting}: {each.consequence}" for each in found),
            "; ".join(each.remedy for each in found),
        )
    return ok("dead letters", f"topic {name!r} may be written to")


def _answers(name: str, administration: Administration) -> Check:
    try:
        if administration.find(name, "Write") is None:
            return ok("answers", f"topic {name!r} does not exist yet: the daemon creates it")
        administration.require_writable(name)
    except StreammetaError as error:
        return fault("answers", error)
    return ok("answers", f"topic {name!r} may be written to")


def _held(kafka: KafkaSection, holds: dict[int, Held], records: list[Record]) -> Check:
    count = sum(log.end - log.first for log in holds.values())
    facts = {"partitions": len(holds), "offsets": count, "read": len(records)}
    words = f"{kafka.topic!r} has {counted(len(holds), 'partition')}"
    if not count:
        return warning("topic", f"{words} and holds no records", "send some, then ask again", **facts)
    words += f", {counted(count, 'offset')}; the newest {counted(len(records), 'record')} read"
    if not records:
        remedy = "are the newest ones in an open transaction, or compacted away? try a larger --records"
        return warning("topic", words, remedy, **facts)
    return ok("topic", words, **facts)


def of_positions(kafka: KafkaSection, begun: Checkpoint, seen: Seen) -> Check:
    """Whether the log still holds what the state needs next."""
    strict = kafka.model_copy(update={"on_lost_offsets": "fail"})
    try:
        if begun.topic_id and seen.topic.id not in ("", begun.topic_id):
            going_on_anew(strict, begun.topic_id, seen.topic.id, seen.holds)
        for partition, offset in sorted(begun.positions.items()):
            going_on(strict, partition, offset, seen.holds.get(partition, Held(0, -1)))
    except LostOffsets as error:
        if kafka.on_lost_offsets == "fail":
            return fault("offsets", error)
        return warning("offsets", str(error), f"the daemon goes on at the {kafka.on_lost_offsets}")
    behind = sum(log.end - begun.positions.get(partition, log.first) for partition, log in seen.holds.items())
    return ok("offsets", f"the topic holds what the state needs next; {behind:,} behind the end", lag=behind)
