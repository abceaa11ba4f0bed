"""Checksums of what the state holds: one per value, and a mark per commit.

    sealed value = value, u32 CRC-32C of the name (xor the key's length), the key and the value

The key belongs to it, so values that changed places are found too. CRC-32C finds every flipped bit and every
burst of up to 32; of other damage one in 4 billion passes. 1 µs for 1 KB.

The mark says which commit this is, how many entries each sub-database has, and the sums of their checksums:
what single values cannot tell, entries that went missing and pages of an older commit.
"""

import struct
from typing import Final, NamedTuple, Self

from crc32c import crc32c

from streammeta.errors import StateError
from streammeta.state.rows import RESTORE

NAMES: Final = ("meta", "stats", "memories", "buffers", "waiting")
"""The sub-databases, in the order of `Databases`."""

_STARTS = {name: crc32c(name.encode()) for name in NAMES}
_SEAL = struct.Struct("<I")
SEAL_BYTES: Final = _SEAL.size
_MARK = struct.Struct("<7Q")
MODULUS = 1 << 64


def seal_of(database: str, key: bytes, value: bytes) -> int:
    """CRC-32C of the value in its place."""
    return int(crc32c(value, crc32c(key, _STARTS[database] ^ len(key))))


def sealed(database: str, key: bytes, value: bytes) -> bytes:
    """The value with its checksum behind it."""
    return value + _SEAL.pack(seal_of(database, key, value))


def seal_in(stored: bytes | memoryview | None) -> int:
    """The checksum of a sealed value, not verified; 0 for none."""
    if stored is None or len(stored) < SEAL_BYTES:
        return 0
    return int(_SEAL.unpack_from(stored, len(stored) - SEAL_BYTES)[0])


def unsealed(database: str, key: bytes, stored: bytes) -> bytes:
    """The value, verified.

    Raises:
        StateError: the value or its key is damaged, or it belongs elsewhere.
    """
    value = stored[:-SEAL_BYTES]
    if len(stored) < SEAL_BYTES or seal_in(stored) != seal_of(database, key, value):
        raise StateError(f"the state is damaged: {_named(database, key)} fails its checksum; {RESTORE}")
    return value


def _named(database: str, key: bytes) -> str:
    name = key.decode(errors="backslashreplace")
    return f"its {name!r}" if database == "meta" else f"{database} of task {name!r}"


class Mark(NamedTuple):
    """What a commit says of itself.

    Attributes:
        transaction: LMDB's number of the transaction that wrote it.
        stats, memories, buffers, waiting: Entries of the sub-databases of tasks.
        rows: Sum of their checksums, modulo 2⁶⁴.
        whole: Sum of those of the meta values but the mark, likewise.
    """

    transaction: int
    stats: int = 0
    memories: int = 0
    buffers: int = 0
    waiting: int = 0
    rows: int = 0
    whole: int = 0

    @property
    def counts(self) -> tuple[int, ...]:
        """Entries by sub-database, in the order of `Databases`."""
        return self[1:5]

    def pack(self) -> bytes:
        """56 bytes, little-endian."""
        return _MARK.pack(*self)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The inverse of `pack`.

        Raises:
            StateError: not 56 bytes.
        """
        if len(packed) != _MARK.size:
            raise StateError(
                f"the state is damaged: a commit mark of {len(packed)} bytes, not {_MARK.size}; {RESTORE}"
            )
        return cls(*_MARK.unpack(packed))


def moved(total: int, before: int, after: int) -> int:
    """The sum once a value with the one checksum was replaced by one with the other; 0 stands for none."""
    return (total - before + after) % MODULUS
