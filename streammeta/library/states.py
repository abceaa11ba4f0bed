"""State directories of a learner in a program: the daemon's, so that either goes on where the other stopped.

All of a state is read into memory at once, so that it is one commit whatever the daemon writes meanwhile.
Written it is only where nothing would be lost: to a directory without a state, or over the commit that the
learner itself read or wrote there.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from streammeta.errors import StateError
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from streammeta.state.order_log import OrderLog
from streammeta.state.store import Meta, TaskRow


class Homes:
    """The directories that hold what this learner read or wrote last, and that."""

    def __init__(self) -> None:
        self._held: dict[Path, bytes] = {}

    def read(self, directory: Path) -> MemoryStore:
        """The last commit there.

        Raises:
            StateError: there is none, or it is damaged.
        """
        path = StateDirectory(directory).lmdb_path
        with closing(LmdbStore(path, readonly=True)) as store, store.snapshot() as snapshot:
            meta, constants, ids = snapshot.load(), snapshot.constants(), snapshot.ids()
            rows = {task: snapshot.get(task) for task, _ in snapshot.stats()}
        if meta is None:
            raise StateError(f"{directory}: no checkpoint yet; is it the state.dir of a daemon?")
        held = MemoryStore()
        held.commit(replace(meta, ids=ids), rows, constants or None)
        self._held[directory.resolve()] = meta.document
        return held

    def write(self, directory: Path, held: MemoryStore) -> int:
        """Commit all that is held there; the bytes written.

        Raises:
            StateLocked: another process writes there.
            StateError: another state is there, or the disk fails.
        """
        meta = held.load()
        if meta is None:
            raise AssertionError("committed before it is written")
        with StateDirectory(directory) as locked, closing(LmdbStore(locked.lmdb_path)) as store:
            self._refuse_other(directory, store.load())
            rows: dict[str, TaskRow | None] = {task: held.get(task) for task, _ in held.stats()}
            ids = {**dict.fromkeys(store.ids()), **held.ids()}
            written = store.commit(replace(meta, ids=ids), rows, held.constants() or None)
            OrderLog(locked.order_log_path).close()
        self._held[directory.resolve()] = meta.document
        return written

    def _refuse_other(self, directory: Path, found: Meta | None) -> None:
        if found is not None and found.document != self._held.get(directory.resolve()):
            raise StateError(
                f"{directory} holds a state that this learner neither read nor wrote, or that has moved on "
                "since; name a new directory, or load that one and go on from it"
            )
