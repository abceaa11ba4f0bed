"""Records as Kafka may give them, and recordings made of them."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from streammeta.events import Record
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL, Selection
from streammeta.recording.writer import Writer

TOPIC = "tasks"
DATA = st.none() | st.binary(max_size=20)
NAMES = st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
HEADERS = st.lists(st.tuples(NAMES, DATA), max_size=2).map(tuple)
RECORDS = st.builds(
    Record,
    topic=st.just(TOPIC),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 2),
    timestamp_ms=st.integers(-1, 2**62),
    key=DATA,
    value=DATA,
    headers=HEADERS,
    flaw=st.none(),
)


def stream(count: int, partitions: int = 3, begin: int = 0) -> list[Record]:
    """Records of rising offsets, the partitions in turn; a second apart."""
    return [
        Record(TOPIC, n % partitions, n // partitions, 1000 * n, b"task-%d" % (n % 7), b"value-%d" % n)
        for n in range(begin, begin + count)
    ]


def write(directory: Path, *parts: Sequence[Record], spooled: Sequence[Record] = ()) -> Path:
    """A recording of these parts, and of rows that are no part yet."""
    writer = Writer(directory, "topic", TOPIC)
    for records in parts:
        writer.append(records)
        writer.roll()
    writer.append(spooled)
    writer.sync()
    writer.abandon()
    return directory


def read(directory: Path, first_row: int = 0, selection: Selection = ALL) -> list[Record]:
    """All wanted records of a recording."""
    chunks = Recording(directory).chunks(first_row, selection)
    return [record for chunk in chunks for record in chunk.records(TOPIC)]
