"""What ranks tell each other, as bytes: when they come together, and at the end of each round."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streammeta.state.standing import Standing


class Arrival(NamedTuple):
    """What a rank says when the group comes together.

    Attributes:
        standing: Where its state stands.
        settings: A hash of what must be the same for all.
        events: Learned in the life of its state.
    """

    standing: Standing
    settings: str
    events: int


class Report(NamedTuple):
    """What a rank says when it has closed a round.

    Attributes:
        events: Learned in the life of its state.
        weight: Events learned in the round.
        lag: Records that it knows to be unread; None while unknown.
        distance: Of its meta-parameters from the mean, at the end of the round before.
        ended: It has reached the end at which it was told to stop.
        counts: Those in its state.
    """

    events: int
    weight: int
    lag: int | None
    distance: float
    ended: bool
    counts: Sequence[int]


def pack_word(word: Arrival | Report) -> bytes:
    """As MessagePack."""
    return msgspec.msgpack.encode(word)


def arrivals(words: Sequence[bytes]) -> list[Arrival]:
    """The inverse of `pack_word`, of all ranks."""
    return [msgspec.msgpack.decode(word, type=Arrival) for word in words]


def reports(words: Sequence[bytes]) -> list[Report]:
    """The inverse of `pack_word`, of all ranks."""
    return [msgspec.msgpack.decode(word, type=Report) for word in words]
