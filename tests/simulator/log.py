"""A topic as a broker keeps it: offsets that hold records, markers, aborted records, or nothing any more."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from streammeta.events import Record

Fate = Literal["open", "committed", "aborted"]


@dataclass(slots=True)
class Entry:
    """What an offset holds: a record, with the transaction that it belongs to; or a marker."""

    offset: int
    record: Record | None
    transaction: int | None = None


@dataclass
class Log:
    """One partition.

    Attributes:
        first: The first offset held.
        end: The next offset.
        entries: What is held, by offset, rising.
        fates: What became of transactions.
        ends: Seconds and the end from then on: what the lag is judged by.
        lost: Serial numbers of records that retention or compaction took.
        fetched: The offset behind what any client was given.
        hidden: Offsets that the broker does not give, though it says that they can be read.
        hidden_until: For how long.
        corrupt: It says why.
    """

    first: int = 0
    end: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    fates: dict[int, Fate] = field(default_factory=dict)
    ends: list[tuple[float, int]] = field(default_factory=lambda: [(-1e9, 0)])
    lost: set[int] = field(default_factory=set)
    fetched: int = 0
    hidden: range = range(0)
    hidden_until: float = 0.0
    corrupt: bool = False

    def append(
        self, record: Record | None, partition: int, now: float, transaction: int | None = None
    ) -> None:
        """Add a record, or a marker."""
        placed = None if record is None else record._replace(partition=partition, offset=self.end)
        if placed is not None and placed.flaw is not None:
            placed = placed._replace(flaw=replace(placed.flaw, end=self.end + 1))
        self.entries[self.end] = Entry(self.end, placed, transaction)
        self.end += 1
        self.ends.append((now, self.end))

    def begin(self, transaction: int) -> None:
        """Open a transaction."""
        self.fates[transaction] = "open"

    def finish(self, transaction: int, fate: Fate, now: float) -> None:
        """Write its marker."""
        self.fates[transaction] = fate
        self.append(None, 0, now, transaction)

    @property
    def readable(self) -> int:
        """The offset up to which no open transaction holds records back."""
        held_back = (
            entry.offset
            for entry in self.entries.values()
            if entry.transaction is not None and self.fates[entry.transaction] == "open"
        )
        return next(held_back, self.end)

    def visible(self, entry: Entry) -> bool:
        """Whether readers of what is committed get its record."""
        committed = entry.transaction is None or self.fates[entry.transaction] == "committed"
        return entry.record is not None and committed

    def records(self) -> Iterator[Record]:
        """All that a reader of what is committed gets, in order."""
        for entry in self.entries.values():
            if entry.record is not None and self.visible(entry) and entry.offset < self.readable:
                yield entry.record

    def hides(self, offset: int, now: float) -> bool:
        """Whether nothing comes from there."""
        return offset in self.hidden and now < self.hidden_until

    def after(self, offset: int, most: int, now: float) -> tuple[list[Record], int]:
        """At most so many records from there on, and the offset behind what they, and markers, take."""
        found, behind = self._after(offset, most, now)
        self.fetched = max(self.fetched, behind)
        return found, behind

    def _after(self, offset: int, most: int, now: float) -> tuple[list[Record], int]:
        found: list[Record] = []
        until = self.readable
        if self.hidden and offset < self.hidden.start and now < self.hidden_until:
            until = min(until, self.hidden.start)
        for at in sorted(at for at in self.entries if offset <= at < until):
            entry = self.entries[at]
            if len(found) == most:
                return found, at
            if entry.record is not None and self.visible(entry):
                found.append(entry.record)
        return found, max(offset, until)

    def expire(self, before: int) -> None:
        """Retention: drop what lies below; at most up to what is readable."""
        before = min(before, self.readable)
        for offset in [offset for offset in self.entries if offset < before]:
            self._lose(offset)
        self.first = max(self.first, before)

    def compact(self, offsets: list[int]) -> None:
        """Drop the records there; the offsets stay as gaps."""
        for offset in offsets:
            if offset in self.entries and offset < self.readable:
                self._lose(offset)

    def _lose(self, offset: int) -> None:
        entry = self.entries.pop(offset)
        if entry.record is not None and self.visible(entry):
            self.lost.add(entry.record.timestamp_ms)

    def end_between(self, begin: float, until: float) -> tuple[int, int]:
        """The least and the greatest end in that time."""
        before = max((end for at, end in self.ends if at <= begin), default=0)
        return before, max(end for at, end in self.ends if at <= until)
