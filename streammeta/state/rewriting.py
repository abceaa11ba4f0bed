"""Values written under seals, the mark that each commit leaves, and layout 1 made layout 2."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from streammeta.state.checksums import NAMES, SEAL_BYTES, Mark, moved, seal_in, sealed, unsealed
from streammeta.state.extent import fit, lengthen
from streammeta.state.rows import companions

if TYPE_CHECKING:
    from streammeta.state.environment import Databases

_MARK = b"commit"


class SealedWriter:
    """Puts sealed values and keeps the sums of their checksums; `finish` writes the mark.

    Args:
        txn: A write transaction that gives buffers, so that a replaced value is not copied for its checksum.
        databases: All of them.
        mark: The mark before; None to read the one in the state.
    """

    def __init__(
        self, txn: "lmdb.Transaction[memoryview]", databases: "Databases", mark: Mark | None = None
    ) -> None:
        self._txn = txn
        self._databases = databases
        if mark is None:
            mark = Mark.unpack(unsealed("meta", _MARK, bytes(txn.get(_MARK, b"", db=databases.meta))))
        self._sums = [mark.whole, mark.rows]

    def put(self, number: int, key: bytes, value: bytes | None, *, replaced: bool = True) -> None:
        """Put a value into the sub-database of this number, None to delete; `replaced`: it has seals."""
        database = self._databases[number]
        self._put(number, key, value, seal_in(self._txn.get(key, db=database)) if replaced else 0)

    def _put(self, number: int, key: bytes, value: bytes | None, before: int) -> None:
        """Put the value where one with the checksum `before` is, 0 for none."""
        database, after = self._databases[number], 0
        if value is None:
            self._txn.delete(key, db=database)
        else:
            stored = sealed(NAMES[number], key, value)
            after = seal_in(stored)
            self._txn.put(key, stored, db=database)
        self._sums[number > 0] = moved(self._sums[number > 0], before, after)

    def put_row(self, key: bytes, values: Sequence[bytes | None]) -> None:
        """Put what the sub-databases of tasks shall hold of one, statistics first; None to delete.

        What the state holds of it is known from its statistics (`companions`), and not looked for.
        """
        stored = self._txn.get(key, db=self._databases[1])
        there = 0 if stored is None or len(stored) <= SEAL_BYTES else stored[-SEAL_BYTES - 1]
        self._put(1, key, values[0], seal_in(stored))
        for number, value in enumerate(values[1:], start=2):
            held = there >> number - 2 & 1
            if held or value is not None:
                before = seal_in(self._txn.get(key, db=self._databases[number])) if held else 0
                self._put(number, key, value, before)

    def finish(self) -> None:
        """Write the mark."""
        stats, memories, buffers, waiting = (
            self._txn.stat(database)["entries"] for database in self._databases[1:]
        )
        whole, rows = self._sums
        mark = Mark(self._txn.id(), stats, memories, buffers, waiting, rows, whole)
        self._txn.put(_MARK, sealed("meta", _MARK, mark.pack()), db=self._databases.meta)


def rewrite(env: lmdb.Environment, data: Path, databases: "Databases", layout: bytes) -> None:
    """Seal every value of a state of layout 1, in one transaction: a crash leaves one layout or the other."""
    with env.begin() as txn:
        values = sum(txn.stat(database)["entries"] for database in databases)
    # Every page may be copied, and hardly any value grows beyond its pages.
    lengthen(data, env, values=values + 8, value_bytes=2 * data.stat().st_size)
    with env.begin(write=True, buffers=True) as txn:
        writer = SealedWriter(txn, databases, Mark(0))
        for number, database in enumerate(databases):
            for key in [bytes(key) for key in txn.cursor(db=database).iternext(values=False)]:
                if (number, key) != (0, b"layout"):
                    writer.put(number, key, _new_value(txn, databases, number, key), replaced=False)
        txn.put(b"layout", layout, db=databases.meta)
        writer.finish()
    fit(data, env)


def _new_value(txn: "lmdb.Transaction[memoryview]", databases: "Databases", number: int, key: bytes) -> bytes:
    value = bytes(txn.get(key, b"", db=databases[number]))
    if number != 1:
        return value
    return value + companions(txn.get(key, db=database) is not None for database in databases[2:])
