"""A state that another process writes: its last commit, also when a copy was put in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from streammeta.errors import StateError
from streammeta.state.environment import DATA
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.snapshot import LmdbSnapshot


class FollowedStore:
    """Reads the last commit of a store's directory. Any thread may; one after the other."""

    def __init__(self, directory: Path) -> None:
        """Open it.

        Raises:
            StateError: there is no state, or it cannot be opened.
        """
        self._directory = directory
        self._lock = RLock()
        self._store = LmdbStore(directory, readonly=True)
        self._file = self._identity()

    def written_at_seconds(self) -> float:
        """When the last commit was written, as Unix time.

        Raises:
            StateError: the state is gone.
        """
        try:
            return (self._directory / DATA).stat().st_mtime
        except OSError as error:
            raise self._gone(error) from error

    @contextmanager
    def snapshot(self) -> Iterator[LmdbSnapshot]:
        """The last commit, for as long as the block runs.

        Raises:
            StateError: the state is gone, or cannot be read.
        """
        with self._lock:
            self._reopen()
            with self._store.snapshot() as view:
                yield view

    def close(self) -> None:
        """Release the files. May be called twice."""
        with self._lock:
            self._store.close()

    def _reopen(self) -> None:
        """Open the file that has taken the place of the one that is open."""
        found = self._identity()
        if found != self._file:
            self._store.close()
            self._file = (0, 0)  # until the new one is open
            self._store = LmdbStore(self._directory, readonly=True)
            self._file = found

    def _identity(self) -> tuple[int, int]:
        try:
            found = (self._directory / DATA).stat()
        except OSError as error:
            raise self._gone(error) from error
        return found.st_dev, found.st_ino

    def _gone(self, error: OSError) -> StateError:
        return StateError(
            f"state {self._directory}: {error.strerror}; it was there, and is read again as soon "
            "as it is back"
        )
