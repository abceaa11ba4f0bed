"""What a dead letter is made of: the record, where it came from and why, and what had to be left out.

A letter that its topic cannot take (too large, no key where the topic is compacted) is written with less, and
says so: the header `__streammeta.errors.omitted` lists which of key, value and headers are not the record's
own. It stands before the six facts, which are always the last headers.
"""

from typing import Final

from streammeta.errors import BadEvent
from streammeta.events import Record
from streammeta.stream.kafka.parcel import Parcel
from streammeta.stream.kafka.untouched import Headers, headers_of

HEADER_PREFIX: Final = "__streammeta.errors."
FACTS: Final = ("topic", "partition", "offset", "stage", "reason", "message")
"""What the headers tell, in their order."""
OMITTED: Final = HEADER_PREFIX + "omitted"
"""The header that says what is missing, comma-separated."""
MESSAGE_BYTES: Final = 1024
"""Longest error message in a header, in UTF-8."""
_KEY_BYTES = 256


def error_headers(record: Record, refusal: BadEvent, note: str = "") -> Headers:
    """Where the record came from and why it was refused, as UTF-8 text.

    >>> from streammeta.errors import Reason
    >>> bad = BadEvent(Reason.UNDECODABLE, "not JSON")
    >>> error_headers(Record("tasks", 3, 17, 0, None, None), bad)[3:5]
    (('__streammeta.errors.stage', b'decode'), ('__streammeta.errors.reason', b'undecodable'))
    """
    place = (record.topic, str(record.partition), str(record.offset))
    message = f"{refusal} ({note})" if note else str(refusal)
    facts = zip(FACTS, (*place, refusal.stage, str(refusal.reason), message), strict=True)
    return tuple((HEADER_PREFIX + name, _utf8(text)) for name, text in facts)


def _utf8(text: str) -> bytes:
    """At most `MESSAGE_BYTES`, never cut within a character."""
    cut = text.encode("utf-8", "backslashreplace")[:MESSAGE_BYTES]
    return cut.decode("utf-8", "ignore").encode()


class Outgoing(Parcel):
    """A letter on its way.

    Attributes:
        left_out: What of the record is not in it.
    """

    def __init__(self, record: Record, refusal: BadEvent) -> None:
        """The record whole, as far as it could be had."""
        self.record, self.refusal = record, refusal
        self.left_out: tuple[str, ...] = ()
        super().__init__(record.key, record.value, headers_of(record) + error_headers(record, refusal))
        if record.flaw is not None and record.flaw.stage == "read":
            self._leave_out(("value", "headers"), "")

    @property
    def place(self) -> str:
        """Topic, partition and offset of the record."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"

    def shorten(self, topic: str, cause: str) -> bool:
        """Leave out the value; where that is done, all but the facts; False where that is done, too.

        Args:
            topic: The dead-letter topic.
            cause: Why it refuses the letter.
        """
        if "key" in self.left_out:
            return False
        key, value = self.record.key, self.record.value
        note = f"the value of {len(value or b'')} bytes is left out: {topic} refuses it: {cause}"
        if "value" not in self.left_out and key is not None and len(key) <= _KEY_BYTES:
            self._leave_out(("value",), note)
        else:
            self._leave_out(("key", "value", "headers"), note)
        return True

    def _leave_out(self, parts: tuple[str, ...], note: str) -> None:
        self.left_out = parts
        own = () if "headers" in parts else headers_of(self.record)
        self.key = self.place.encode() if "key" in parts else self.record.key
        self.value = b""
        omitted = ((OMITTED, ",".join(parts).encode()),)
        self.headers = (*own, *omitted, *error_headers(self.record, self.refusal, note))
