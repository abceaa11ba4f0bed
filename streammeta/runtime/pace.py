"""How much is a chunk: as many records as are applied in half a second, within bounds."""

from dataclasses import dataclass, field
from typing import Final

CHUNK_RECORDS: Final = 512
"""Most records of a chunk: beyond, nothing gets cheaper."""
FIRST_RECORDS: Final = 16
"""Those of the first chunk of a life, when nobody knows yet what a record takes."""
CHUNK_BYTES: Final = 64 << 20
"""Most bytes of a chunk's events, but for its last one."""
CHUNK_SECONDS: Final = 0.5
"""What a chunk may take at most, as the last one took; signals are looked at between chunks."""


@dataclass
class Pace:
    """The size of the next chunk, as the last one went.

    >>> pace = Pace()
    >>> pace.took(records=10, seconds=1.0)
    >>> pace.full(records=4, size_bytes=0), pace.full(records=5, size_bytes=0)
    (False, True)
    """

    _most_records: int = field(init=False, default=FIRST_RECORDS)

    def full(self, records: int, size_bytes: int) -> bool:
        """Whether a chunk of so much shall be settled before more is taken."""
        return records >= self._most_records or size_bytes >= CHUNK_BYTES

    def took(self, records: int, seconds: float) -> None:
        """Let the next chunk take no longer than it may."""
        if seconds > 0:
            self._most_records = max(1, min(CHUNK_RECORDS, int(CHUNK_SECONDS * records / seconds)))
