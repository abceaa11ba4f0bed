"""Where a state stands in a group of ranks that learn apart and unite at the end of each round."""

from typing import NamedTuple, Self

import msgspec


class Standing(NamedTuple):
    """A rank's place, and the rounds that its state has been through.

    A round is closed when the rank has done its part and says so to the others, united when the average is in
    the state. Between the two the state is what the rank brings to the average, and nothing is learned.

    Attributes:
        rank, world: Which rank of how many.
        partitions: Of the topic, as its tasks were parted among them; 0 while unknown.
        closed, united: Rounds; `closed` is `united` or one more.
        weight: Events learned in the last round that was closed.
        records, events: Records taken and events learned when it was closed.
    """

    rank: int
    world: int
    partitions: int = 0
    closed: int = 0
    united: int = 0
    weight: int = 0
    records: int = 0
    events: int = 0


class Kept(NamedTuple):
    """What a state keeps of the last rounds, for ranks that died before they had it.

    Attributes:
        mean: To which the ranks united last (`pack_state`); nothing where nobody had learned anything.
        sent: What this one sent in the round that it closed last, where it learns on before the mean comes.
    """

    mean: bytes = b""
    sent: bytes = b""

    def pack(self) -> bytes:
        """As MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The inverse of `pack`; of nothing, nothing."""
        return msgspec.msgpack.decode(packed, type=cls) if packed else cls()
