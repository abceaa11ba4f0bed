"""What the newest records hold: how many can be read, why the others cannot, and what is likely meant.

Pure: a function of the configuration and the records.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from streammeta.codec.envelope import CONTENT_TYPE, MSGPACK, is_framed
from streammeta.config import Config
from streammeta.errors import BadEvent, ConfigError, Reason
from streammeta.events import Change, Record
from streammeta.programs.doctor.check import Check, ok, warning
from streammeta.quoting import quoted_line
from streammeta.runtime.reading import decoder_of

Decode = Callable[[Record], object]

MOST: Final = 0.5
"""The share of records that may be refused before that is a fault."""
_OTHER: Final = {"episode": "examples", "examples": "episode"}
_SHOWN_CHARACTERS: Final = 300


@dataclass
class Refusals:
    """Records set aside, by reason, and the first of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def add(self, partition: int, offset: int, reason: Reason, message: str) -> None:
        """One more."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, (partition, offset, message))

    def lines(self) -> Iterator[str]:
        """A line for each reason, the most frequent first."""
        for reason, count in self.counts.most_common():
            partition, offset, message = self.examples[reason]
            yield f"{reason} {count:,}, as partition {partition} offset {offset}: {_short(message)}"

    def facts(self) -> list[dict[str, Any]]:
        """The same for programs."""
        names = ("partition", "offset", "message")
        return [
            {"reason": reason, "count": count, **dict(zip(names, self.examples[reason], strict=True))}
            for reason, count in self.counts.most_common()
        ]


def _short(message: str) -> str:
    text = message if len(message) <= _SHOWN_CHARACTERS else message[: _SHOWN_CHARACTERS - 1] + "…"
    return quoted_line(text)


def of_content(config: Config, records: Sequence[Record]) -> tuple[Check, list[Record]]:
    """The check, and the records that can be read; of at least one record."""
    read, refusals, refused = decoder_of(config), Refusals(), list[Record]()
    for record in records:
        try:
            read(record)
        except BadEvent as error:
            refusals.add(record.partition, record.offset, error.reason, str(error))
            refused.append(record)
    spoilt = {id(record) for record in refused}
    readable = [record for record in records if id(record) not in spoilt]
    facts = {"read": len(records), "fit": len(readable), "refused": refusals.facts()}
    words = f"{len(readable):,} of {len(records):,} can be read as {_called(config.events.kind)}"
    if not refused:
        return ok("records", words, **facts), readable
    words = "\n".join([words, *refusals.lines()])
    remedy = "\n".join(hints(config, refused))
    if len(refused) <= MOST * len(records):
        return warning("records", words, remedy or "the others are dead letters", **facts), readable
    return Check("records", "fault", words, remedy, ConfigError.exit_code, facts), readable


def _called(kind: str) -> str:
    return "episodes" if kind == "episode" else "examples"


def hints(config: Config, refused: Sequence[Record]) -> Iterator[str]:
    """What is likely meant by records that cannot be read."""
    other = _OTHER[config.events.kind]
    if count := _count(refused, lambda record: _reads(decoder_of(config, other), record)):
        yield (
            f'{count:,} of them hold {_called(other)}, but events.kind = "{config.events.kind}": '
            f'set events.kind = "{other}"'
        )
    framed = 0 if config.events.decoder else _count(refused, lambda record: is_framed(record.value or b""))
    if framed:
        yield (
            f"{framed:,} of them begin with byte 0 and a schema's number, as a schema registry's serialisers "
            "write them (Avro, Protobuf, JSON Schema): name a function that reads them, events.decoder = "
            '"package.module:callable", or send plain JSON or MessagePack'
        )
    if count := _count(refused, _is_unnamed_msgpack):
        yield f"{count:,} of them look like MessagePack without its header: send {CONTENT_TYPE}: {MSGPACK}"
    if count := _count(refused, lambda record: record.value is not None and record.key is None):
        yield f"{count:,} of them have no key: send the task's id as the record's key"


def _count(records: Iterable[Record], holds: Callable[[Record], bool]) -> int:
    return sum(1 for record in records if holds(record))


def _reads(read: Decode, record: Record) -> bool:
    try:
        return not isinstance(read(record), Change)
    except BadEvent:
        return False


def _is_unnamed_msgpack(record: Record) -> bool:
    if record.value is None or any(str(name).lower() == CONTENT_TYPE for name, _ in record.headers):
        return False
    try:
        return isinstance(msgspec.msgpack.decode(record.value), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
