"""What is sent and must be acknowledged, and which refusals of it are its own."""

from dataclasses import dataclass, field
from typing import Any, Final

from kafka import errors

from streammeta.stream.kafka.untouched import Untouched

TOO_LARGE: Final = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
ITS_OWN: Final = (
    *TOO_LARGE,
    errors.InvalidRecordError,
    errors.InvalidTimestampError,
    errors.PolicyViolationError,
)
"""Refusals that are the parcel's own: what is sent with less may be taken."""


@dataclass(eq=False)
class Parcel(Untouched):
    """What is sent, on its way.

    Attributes:
        future: Its sending; None before it is begun.
        begun_at: When, monotonic seconds.
        alone: It was sent, the last time, in a batch of its own.
        refused: Why the producer did not even take it, where trying again is of no use.
        given_up: It will not be sent: who waits for it was told otherwise.
    """

    future: Any = field(default=None)
    begun_at: float = field(default=0.0)
    alone: bool = field(default=False)
    refused: errors.KafkaError | None = field(default=None)
    given_up: bool = field(default=False)
