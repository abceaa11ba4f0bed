"""Dead letters read back: what each record was, why it was set aside, and which were put back since.

That a letter was put back is noted in the dead-letter topic itself: a note is a record with the header
`__streammeta.replayed` whose value lists, as JSON, offsets of the partition in which it lies.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
from kafka import KafkaAdminClient

from streammeta.errors import BrokerUnavailable
from streammeta.events import Record
from streammeta.stream.kafka.access import KafkaSettings, always, connected
from streammeta.stream.kafka.held import held
from streammeta.stream.kafka.letter import FACTS, HEADER_PREFIX, OMITTED
from streammeta.stream.kafka.reader import Reader
from streammeta.stream.kafka.silence import Silence
from streammeta.stream.kafka.topics import Administration

NOTE: Final = "__streammeta.replayed"
"""Header of a note."""
_POLL_SECONDS = 0.2
_POLL_RECORDS = 500
_NAMES = [HEADER_PREFIX + fact for fact in FACTS]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        partition, offset: Where it lies in the dead-letter topic.
        written_ms: When it was put there.
        original: The record as it was in the source topic, but for its timestamp, which is not kept (-1).
        stage, reason, message: Why it was set aside.
        omitted: Which of key, value and headers are not the record's own, comma-separated; "": all are.
    """

    partition: int
    offset: int
    written_ms: int
    original: Record
    stage: str
    reason: str
    message: str
    omitted: str = ""


@dataclass
class Notes:
    """Which letters were put back, by partition of the dead-letter topic."""

    offsets: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def read(self, record: Record) -> bool:
        """Take in a record if it is a note; whether it was one."""
        if not any(name == NOTE for name, _ in record.headers):
            return False
        try:
            self.offsets[record.partition].update(msgspec.json.decode(record.value or b"", type=list[int]))
        except msgspec.MsgspecError:
            return False
        return True

    def hold(self, partition: int, offset: int) -> bool:
        """Whether the letter that lies there was put back."""
        return offset in self.offsets.get(partition, ())


def note_of(partition: int, offsets: Iterable[int], topic: str) -> Record:
    """The record that notes these letters as put back."""
    numbers = sorted(offsets)
    key = f"{NOTE}/{partition}/{numbers[0]}".encode()  # a compacted topic refuses records without one
    value = msgspec.json.encode(numbers)
    return Record(topic, partition, -1, -1, key, value, ((NOTE, b"1"), ("content-type", b"application/json")))


def letter_of(record: Record) -> Letter | None:
    """What a record of the dead-letter topic is; None when streammeta did not put it there."""
    own, added = record.headers[: -len(FACTS)], record.headers[-len(FACTS) :]
    if [name for name, _ in added] != _NAMES:
        return None
    facts = {
        name: (text or b"").decode("utf-8", "replace") for name, (_, text) in zip(FACTS, added, strict=True)
    }
    if not (facts["partition"].isdecimal() and facts["offset"].isdecimal()):
        return None
    place = (facts["topic"], int(facts["partition"]), int(facts["offset"]))
    omitted = ""
    if own and own[-1][0] == OMITTED:
        own, omitted = own[:-1], (own[-1][1] or b"").decode("utf-8", "replace")
    key = None if "key" in omitted else record.key
    original = Record(*place, -1, key, record.value, own)
    why = (facts["stage"], facts["reason"], facts["message"])
    return Letter(record.partition, record.offset, record.timestamp_ms, original, *why, omitted)


def dead_letter_records(settings: KafkaSettings, keep_going: Callable[[], bool] = always) -> Iterator[Record]:
    """All records of the dead-letter topic as it is now, committed ones alone; none where there is no topic.

    Args:
        settings: Those of the dead-letter topic: `topic` is its name.
        keep_going: Asked between polls; False ends the reading with an error.

    Raises:
        BrokerUnavailable: nothing came for `connect_timeout_seconds`; some may be missing.
        BrokerRefused, ConfigError: as `connect`.
    """
    with connected(KafkaAdminClient, settings, keep_going) as admin:
        topic = Administration(admin, settings, keep_going).find(settings.topic, "Read")
    logs = held(settings, sorted(topic.partitions), keep_going) if topic is not None else {}
    if not logs:
        return
    reader = Reader(settings, Silence(), keep_going)
    try:
        reader.assign({partition: log.first for partition, log in logs.items()})
        yield from _up_to({p: log.end for p, log in logs.items()}, reader, settings, keep_going)
    finally:
        reader.close()


def _up_to(
    ends: dict[int, int], reader: Reader, settings: KafkaSettings, keep_going: Callable[[], bool]
) -> Iterator[Record]:
    waited_seconds, seen = 0.0, dict[int, int]()
    while any((at := reader.positions())[p] < end for p, end in ends.items()):
        if not keep_going():
            raise BrokerUnavailable(f"stopped while reading topic {settings.topic!r}")
        waited_seconds = waited_seconds + _POLL_SECONDS if at == seen else 0.0
        if waited_seconds > settings.connect_timeout_seconds:
            raise BrokerUnavailable(_stuck(settings, at, ends))
        seen = at
        for record in reader.read(_POLL_SECONDS, _POLL_RECORDS):
            if record.offset < ends[record.partition]:
                yield record


def _stuck(settings: KafkaSettings, at: dict[int, int], ends: dict[int, int]) -> str:
    behind = {p: f"{at[p]} of {ends[p]}" for p in ends if at[p] < ends[p]}
    return (
        f"{settings.bootstrap_servers} does not give all of topic {settings.topic!r} (partition: offset "
        f"{behind}); another sender may have left a transaction open: try again in a minute"
    )
