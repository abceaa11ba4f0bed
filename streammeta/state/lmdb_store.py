"""State on disk: one LMDB environment, one write transaction per commit.

Invariant: a reader sees one whole commit. A commit is on the disk (fsync) when it returns; LMDB never
overwrites pages that the last commit or a reader needs, so a crash at any moment leaves the last commit.
Every failure is a `StateError` that says what to do. The layout is described in `environment.py`.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streammeta.errors import StateError
from streammeta.state.environment import DATA, Databases, explained, failed, open_environment, sync_entries
from streammeta.state.extent import fit, lengthen
from streammeta.state.residency import MappedFile
from streammeta.state.rows import (
    RESTORE,
    checked_key,
    pack_stats,
    pack_waiting,
    task_key,
    unpack_stats,
    unpack_waiting,
)
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting

if TYPE_CHECKING:
    import lmdb


class LmdbSnapshot:
    """One commit, as a reader sees it until the snapshot ends, whatever is committed meanwhile."""

    def __init__(self, txn: "lmdb.Transaction[bytes]", databases: Databases) -> None:
        self._txn = txn
        self._databases = databases

    def load(self) -> Meta | None:
        """The meta state; None when nothing was ever committed."""
        tensors = self._txn.get(b"tensors", db=self._databases.meta)
        document = self._txn.get(b"document", db=self._databases.meta)
        if tensors is None or document is None:
            return None
        return Meta(tensors, document, self._txn.get(b"history", b"", db=self._databases.meta))

    def constants(self) -> bytes:
        """What of the model no event changes; nothing before it was ever committed."""
        return self._txn.get(b"constants", b"", db=self._databases.meta)

    def get(self, task: str) -> TaskRow | None:
        """One task; None when unknown."""
        key = task_key(task)
        stats = self._txn.get(key, db=self._databases.stats) if key is not None else None
        if key is None or stats is None:
            return None
        memory = self._txn.get(key, db=self._databases.memories)
        if memory is None:
            raise StateError(f"the state is damaged: task {task!r} has no memory; {RESTORE}")
        buffer = waiting = None
        if self._databases.buffers is not None and self._databases.waiting is not None:
            buffer = self._txn.get(key, db=self._databases.buffers)
            waiting = self._txn.get(key, db=self._databases.waiting)
        return TaskRow(
            unpack_stats(stats), memory, buffer or b"", None if waiting is None else unpack_waiting(waiting)
        )

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics, by id in byte order, without reading memories."""
        for key, stats in self._txn.cursor(db=self._databases.stats):
            yield key.decode(), unpack_stats(stats)

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire, without reading their buffers."""
        if self._databases.waiting is not None:
            for key, waiting in self._txn.cursor(db=self._databases.waiting):
                yield key.decode(), unpack_waiting(waiting)

    def count(self) -> int:
        """How many tasks are stored."""
        return self._txn.stat(self._databases.stats)["entries"]


class LmdbStore:
    """A `Store` in a directory.

    Any thread and any process may read while one commits. A reader opens the directory read-only and never
    delays the writer; an open snapshot only keeps its pages from being used again, so the file grows
    meanwhile. LMDB forbids a second `LmdbStore` of the same directory in one process.
    """

    def __init__(self, directory: Path, *, readonly: bool = False) -> None:
        """Open the state; unless `readonly`, make it where there is none.

        Raises:
            StateError: there is no state (`readonly`), it is damaged or foreign, or it cannot be opened.
        """
        self._directory = directory
        self._env, self._databases = open_environment(directory, readonly=readonly)
        self._data = directory / DATA
        self._mapped = MappedFile(self._data)

    @staticmethod
    def copy(origin: Path, target: Path) -> None:
        """Copy the last commit of the state in `origin`, also while its daemon writes, to a new directory.

        Atomic: the directory appears when all is in it, and on the disk.

        Raises:
            StateError: there is no state, or it cannot be copied.
        """
        unfinished = target.with_name(target.name + ".new")
        env, _ = open_environment(origin, readonly=True)
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            with explained(origin):
                env.copy(str(unfinished))
            unfinished.rename(target)
            sync_entries(target)
        except OSError as error:
            raise failed(target, error) from error
        finally:
            env.close()

    @contextmanager
    def snapshot(self) -> Iterator[LmdbSnapshot]:
        """The last commit, for as long as the block runs: everything read in it belongs together."""
        with explained(self._directory), self._env.begin() as txn:
            yield LmdbSnapshot(txn, self._databases)

    def load(self) -> Meta | None:
        """The committed meta state; None when nothing was ever committed."""
        with self.snapshot() as view:
            return view.load()

    def constants(self) -> bytes:
        """What of the model no event changes; nothing before it was ever committed."""
        with self.snapshot() as view:
            return view.constants()

    def get(self, task: str) -> TaskRow | None:
        """One task; None when unknown. 6 µs; 14 µs where 100,000 tasks of 7 KB are stored."""
        with self.snapshot() as view:
            return view.get(task)

    def get_many(self, tasks: Sequence[str]) -> list[TaskRow | None]:
        """These tasks, all of one commit."""
        with self.snapshot() as view:
            return [view.get(task) for task in tasks]

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics, of the commit that was last when the iteration began."""
        with self.snapshot() as view:
            yield from view.stats()

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire, of the commit that was last when the iteration began."""
        with self.snapshot() as view:
            yield from view.waiting()

    def count(self) -> int:
        """How many tasks are stored."""
        with self.snapshot() as view:
            return view.count()

    def commit(self, meta: Meta, tasks: Mapping[str, TaskRow | None], constants: bytes | None = None) -> int:
        """Replace the meta state and these tasks, durably and all at once.

        None forgets a task, and leaves the constants as they are.

        Returns:
            Bytes of the keys and values written; LMDB writes whole pages, so the disk sees more.

        Raises:
            StateError: the disk is full or fails. The former commit stands.
        """
        entries = {checked_key(task): _values(row) for task, row in tasks.items()}
        values = [value for entry in entries.values() for value in entry if value is not None]
        written = sum(len(key) * (len(entry) - entry.count(None)) for key, entry in entries.items())
        whole = _meta_values(meta, constants)
        written += sum(map(len, values)) + sum(map(len, whole.values()))
        try:
            lengthen(self._data, self._env, values=len(values) + len(whole), value_bytes=written)
            self._write(whole, entries)
            fit(self._data, self._env)
        except OSError as error:
            raise failed(self._directory, error) from error
        self._mapped.release()
        return written

    def _write(self, whole: Mapping[bytes, bytes], entries: Mapping[bytes, tuple[bytes | None, ...]]) -> None:
        """One transaction."""
        with explained(self._directory):
            self._env.reader_check()  # a reader that was killed must not keep old pages for ever
            with self._env.begin(write=True) as txn:
                for name, content in whole.items():
                    txn.put(name, content, db=self._databases.meta)
                for key, entry in entries.items():
                    for value, database in zip(entry, self._databases[1:], strict=True):
                        if value is not None:
                            txn.put(key, value, db=database)
                        else:
                            txn.delete(key, db=database)

    def close(self) -> None:
        """Release the files. May be called twice."""
        self._env.close()


def _meta_values(meta: Meta, constants: bytes | None) -> dict[bytes, bytes]:
    """What the first sub-database is to hold."""
    values = {b"tensors": meta.tensors, b"document": meta.document, b"history": meta.history}
    return values if constants is None else values | {b"constants": constants}


def _values(row: TaskRow | None) -> tuple[bytes | None, ...]:
    """What the sub-databases but the first hold of a task; None for nothing."""
    if row is None:
        return (None,) * (len(Databases._fields) - 1)
    waiting = None if row.waiting is None else pack_waiting(row.waiting)
    return pack_stats(row.stats), row.memory, row.buffer or None, waiting
