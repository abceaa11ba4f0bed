"""Records that the broker's log holds and does not give.

A batch whose length is damaged on a broker's disk hides what lies behind it: to a fetch there the broker
answers "corrupt", or with nothing, for ever. kafka-python raises the one without its partition, and waits
through the other without a word. Here both become a record without content, as any damaged batch does.

Invariant: nothing is called withheld that a later answer gave.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords

from streammeta.errors import Reason
from streammeta.events import Flaw, Record

PATIENCE_SECONDS: Final = 30.0
"""How long nothing may come from where the broker says that records can be read, as long as it answers."""
BETWEEN_SECONDS: Final = 1.0
"""What counts of the time between two answers at most: in a longer one the broker was away, or not asked."""
NEXT_SECONDS: Final = 0.2
"""Likewise, of the offset behind one that was given up."""
ANSWERS: Final = 3
"""Fetches of the place that must have been answered so: a broker that hangs withholds nothing."""


@dataclass
class Gap:
    """A place where nothing comes.

    Attributes:
        offset: That was asked for.
        end: Up to here records can be read, the broker says.
        why: In words; the same whenever it is asked.
        patience_seconds: How long it is asked again.
        heard_at: Monotonic seconds of the last answer.
        waited_seconds: For how long it has been answered so.
        answers: Fetches there that were answered so since.
    """

    offset: int
    end: int
    why: str
    patience_seconds: float
    heard_at: float
    waited_seconds: float = 0.0
    answers: int = 0

    @property
    def given_up(self) -> bool:
        """Whether it was asked often, and for long enough."""
        return self.answers >= ANSWERS and self.waited_seconds >= self.patience_seconds


class Withheld:
    """Hears each answer to a fetch of one consumer, before the consumer does."""

    def __init__(self, consumer: Any, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gaps: dict[Any, Gap] = {}
        fetcher = consumer._fetcher
        parse = fetcher._parse_fetched_data

        def heard(fetched: Any) -> Any:
            self._hear(fetched)
            return parse(fetched)

        # The only place where the answer for one partition is whole.
        fetcher._parse_fetched_data = heard

    def __bool__(self) -> bool:
        """Whether there may be anything."""
        return bool(self._gaps)

    def due(self, positions: Mapping[Any, int]) -> list[Record]:
        """One record without content for each place that is read next and given up; each is told once."""
        found = []
        for place, gap in [*self._gaps.items()]:
            if positions.get(place) == gap.offset and gap.given_up:
                found.append(_lacking(place, gap))
                self._go_behind(place, gap)
        return found

    def _hear(self, fetched: Any) -> None:
        place, offset, answer = fetched.topic_partition, fetched.fetched_offset, fetched.partition_data
        if answer.error_code == CorruptRecordError.errno:
            self._note(place, offset, offset + 1, "the broker says that its log is corrupt there", 0.0)
        elif answer.error_code:
            return
        elif not answer.records:
            self._hear_nothing(place, offset, answer)
        elif fetched.response_version >= 3 and not MemoryRecords(answer.records).has_next():
            answer.records = b""  # kafka-python would raise what names neither cause nor remedy
            self._note(place, offset, offset + 1, "it is longer than what the broker sends of it", 0.0)
        else:
            self._gaps.pop(place, None)

    def _hear_nothing(self, place: Any, offset: int, answer: Any) -> None:
        end = answer.high_watermark
        if answer.last_stable_offset >= 0:
            end = min(end, answer.last_stable_offset)
        if offset < end:
            why = "the broker gives nothing from there on, though it says that more can be read"
            self._note(place, offset, end, why, PATIENCE_SECONDS)
        else:
            self._gaps.pop(place, None)

    def _note(self, place: Any, offset: int, end: int, why: str, patience_seconds: float) -> None:
        known = self._gaps.get(place)
        now = self._clock()
        if known is not None and known.offset == offset:
            known.answers += 1
            known.waited_seconds += min(BETWEEN_SECONDS, now - known.heard_at)
            known.heard_at = now
        else:
            self._gaps[place] = Gap(offset, end, why, patience_seconds, now)

    def _go_behind(self, place: Any, gap: Gap) -> None:
        """What gave nothing goes on to: the offset behind it need not be as patient."""
        del self._gaps[place]
        if gap.offset + 1 < gap.end:
            self._gaps[place] = Gap(gap.offset + 1, gap.end, gap.why, NEXT_SECONDS, self._clock())


def _lacking(place: Any, gap: Gap) -> Record:
    message = f"the batch at offset {gap.offset} is damaged: {gap.why}"
    flaw = Flaw(Reason.UNDECODABLE, message, gap.offset + 1, damaged=True)
    return Record(place.topic, place.partition, gap.offset, -1, None, None, (), flaw)
