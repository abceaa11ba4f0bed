"""One commit of the state on disk, every value verified as it is read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from streammeta.errors import StateError
from streammeta.state.checksums import MODULUS, NAMES, Mark, seal_in, unsealed
from streammeta.state.environment import IDS, LAYOUT, Databases, entries_of
from streammeta.state.rows import RESTORE, companions, task_key, unpack_stats, unpack_waiting
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting

if TYPE_CHECKING:
    import lmdb

_STATS = 1


class LmdbSnapshot:
    """One commit, as a reader sees it until the snapshot ends, whatever is committed meanwhile."""

    def __init__(self, txn: "lmdb.Transaction[bytes]", databases: Databases) -> None:
        self._txn = txn
        self._databases = databases
        self._sealed = txn.get(b"layout", db=databases.meta) == LAYOUT

    @property
    def number(self) -> int:
        """That of the commit: a later one has a higher number."""
        return self._txn.id()

    def load(self) -> Meta | None:
        """The meta state; None when nothing was ever committed."""
        tensors, document = self._value(0, b"tensors"), self._value(0, b"document")
        if tensors is None or document is None:
            self._refuse_missing()
            return None
        return Meta(tensors, document, self._value(0, b"history") or b"")

    def constants(self) -> bytes:
        """What of the model no event changes; nothing before it was ever committed."""
        return self._value(0, b"constants") or b""

    def united(self) -> bytes:
        """What the ranks of a group united to last; nothing where there is no group."""
        return self._value(0, b"united") or b""

    def ids(self) -> dict[int, bytes]:
        """The blocks of event ids, by number."""
        cursor, blocks = self._txn.cursor(db=self._databases.meta), dict[int, bytes]()
        if cursor.set_range(IDS):
            for key, stored in cursor:
                if not key.startswith(IDS):
                    break
                blocks[int(key[len(IDS) :], 16)] = unsealed("meta", key, stored)
        return blocks

    def get(self, task: str) -> TaskRow | None:
        """One task; None when unknown."""
        key = task_key(task)
        stats = self._value(_STATS, key) if key is not None else None
        if key is None or stats is None:
            if key is not None:
                self._refuse_misled(key)
            return None
        memory, buffer, waiting = (self._value(number, key) for number in (2, 3, 4))
        there = companions(value is not None for value in (memory, buffer, waiting))
        if memory is None or (self._sealed and there != stats[-1:]):
            raise StateError(f"the state is damaged: a part of task {task!r} is missing; {RESTORE}")
        return TaskRow(
            unpack_stats(self._plain(stats)),
            memory,
            buffer or b"",
            None if waiting is None else unpack_waiting(waiting),
        )

    def learned(self, task: str) -> tuple[int, bytes, bytes] | None:
        """Events, memory and buffer of one task, for those who need no more; half the cost of `get`."""
        key = task_key(task)
        stats = self._value(_STATS, key) if key is not None and self._sealed else None
        if key is None or stats is None:
            row = self.get(task)
            return None if row is None else (row.stats.events, row.memory, row.buffer)
        memory = self._value(2, key)
        buffer = self._value(3, key) if stats[-1] & 2 else b""
        if memory is None or buffer is None:
            raise StateError(f"the state is damaged: a part of task {task!r} is missing; {RESTORE}")
        return int.from_bytes(stats[:8], "little"), memory, buffer

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics, by id in byte order, without reading memories."""
        for key, stats in self._all(_STATS):
            yield key.decode(), unpack_stats(self._plain(stats))

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire, without reading their buffers."""
        for key, waiting in self._all(4):
            yield key.decode(), unpack_waiting(waiting)

    def count(self) -> int:
        """How many tasks are stored."""
        return self._txn.stat(self._databases.stats)["entries"]

    def verify(self) -> int:
        """Read every value and the sums of their checksums; how many there are.

        Raises:
            StateError: something is damaged, named.
        """
        if not self._sealed:
            return sum(1 for _ in self.stats())
        mark = Mark.unpack(self._value(0, b"commit") or b"")
        sums, entries = [0, 0], 0
        for number, name in enumerate(NAMES):
            for key, stored in self._txn.cursor(db=self._databases[number]):
                if number or key not in (b"layout", b"commit"):
                    unsealed(name, key, stored)
                    sums[number > 0] += seal_in(stored)
                    entries += 1
        here = (self._txn.id(), *entries_of(self._txn, self._databases), sums[1] % MODULUS, sums[0] % MODULUS)
        if here != tuple(mark):
            raise StateError(
                f"the state is damaged: values of another commit are in commit {mark.transaction:,} "
                f"({entries:,} are there, each sound by itself); {RESTORE}"
            )
        return entries

    def _plain(self, stats: bytes) -> bytes:
        return stats[:-1] if self._sealed else stats

    def _value(self, number: int, key: bytes) -> bytes | None:
        """The verified value of this key in the sub-database of this number."""
        database = self._databases[number]
        stored = None if database is None else self._txn.get(key, db=database)
        return stored if stored is None or not self._sealed else unsealed(NAMES[number], key, stored)

    def _all(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """The verified entries, as many as there should be, in order."""
        database = self._databases[number]
        if database is None:
            return
        former, count = b"", 0
        for key, stored in self._txn.cursor(db=database):
            value = unsealed(NAMES[number], key, stored) if self._sealed else stored
            if key <= former:
                raise StateError(f"the state is damaged: its {NAMES[number]} are out of order; {RESTORE}")
            yield key, value
            former, count = key, count + 1
        if count != self._txn.stat(database)["entries"]:
            raise StateError(f"the state is damaged: some of its {NAMES[number]} are missing; {RESTORE}")

    def _refuse_missing(self) -> None:
        """A commit without its meta values."""
        if self.count() or self._txn.get(b"history", db=self._databases.meta) is not None:
            raise StateError(f"the state is damaged: its tensors or its document are missing; {RESTORE}")

    def _refuse_misled(self, key: bytes) -> None:
        """A key that was not found lies between its neighbours, else a damaged page has misled the search."""
        cursor = self._txn.cursor(db=self._databases.stats)
        found = cursor.set_range(key)
        after = cursor.item() if found else None
        before = cursor.item() if (cursor.prev() if found else cursor.last()) else None
        if (before and before[0] >= key) or (after and after[0] <= key):
            raise StateError(f"the state is damaged: its stats are out of order; {RESTORE}")
        for item in (before, after):
            if item and self._sealed:
                unsealed(NAMES[_STATS], *item)
