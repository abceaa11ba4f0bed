"""The state directory: where its files are, and the lock that gives it one writer.

    state/lock        the writer's process id, under an exclusive flock
    state/lmdb/       `LmdbStore`
    state/order.log   `OrderLog`
    state/trials      `Trials`
    state/checkpoints/EVENTS/lmdb/  copies (`copies.py`)
    state/damaged-N/  what `checkpoint restore` has put aside
    state/demoted-TIME/  what `promote` has
    state/exchange/   what it brings, while it does (`exchange.py`)
    state/feed/       what challengers learn from (`streammeta.feed`)

Directories are the user's alone (0700), and so are files (0600).

Readers use the paths without entering the directory; they never meet the lock.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from streammeta.errors import StateError, StateLocked
from streammeta.state.exchange import finish


class StateDirectory:
    """A state directory. Entered, it is created where absent and locked until left.

    The kernel frees the lock when the process ends, however it ends. Processes started meanwhile do not
    inherit it (a plain fork does).
    """

    def __init__(self, path: Path, *, whole: bool = True) -> None:
        """`whole`: refuse to enter what remains of a lost state; a copy may be put there otherwise."""
        self.path = path
        self._whole = whole
        self._lock: int | None = None

    @property
    def lmdb_path(self) -> Path:
        """The directory of the LMDB store."""
        return self.path / "lmdb"

    @property
    def order_log_path(self) -> Path:
        """The file of the order log."""
        return self.path / "order.log"

    @property
    def trials_path(self) -> Path:
        """The file of what is being tried."""
        return self.path / "trials"

    @property
    def copies_path(self) -> Path:
        """The directory of the kept copies."""
        return self.path / "checkpoints"

    def __enter__(self) -> Self:
        """Create and lock.

        Raises:
            StateLocked: another process writes here; the message names it.
            StateError: the directory cannot be created or locked.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = locked(self.path / "lock", "state.dir")
            self._finish_exchange()
            self.refuse_remains()
        except OSError as error:
            raise StateError(
                f"state.dir = {str(self.path)!r}: {error.strerror}; name a directory on a local disk "
                "that this user may write to"
            ) from error
        return self

    def writer(self) -> str | None:
        """The process that writes here now, as it named itself; None for none. Changes nothing.

        The lock is tried for a moment, shared, where a name was left: of a process that was killed, too.
        """
        try:
            lock = os.open(self.path / "lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            name = os.pread(lock, 32, 0).decode(errors="replace").strip()
            if name:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return name
        finally:
            os.close(lock)
        return None

    def _finish_exchange(self) -> None:
        try:
            finish(self.path)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def refuse_remains(self) -> None:
        """The order log is made after the store: without its store it tells of a state that was lost.

        Raises:
            StateError: it does.
        """
        if not self._whole:
            return
        data = self.lmdb_path / "data.mdb"
        if self.order_log_path.exists() and not (data.exists() and data.stat().st_size):
            self.__exit__(None, None, None)
            raise StateError(
                f"state.dir = {str(self.path)!r}: {data} is gone or empty, and what is left belongs to it; "
                "restore a copy (`streammeta checkpoint restore`), or begin anew in another one"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock. The file stays: removing it would let two writers hold two locks."""
        lock, self._lock = self._lock, None
        if lock is not None:
            unlock(lock)


def unlock(lock: int) -> None:
    """Give back what `locked` gave."""
    try:
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def locked(path: Path, called: str) -> int:
    """A file descriptor that holds the lock, with this process's id written to the file.

    Raises:
        StateLocked: another process holds it; `called` is what a user calls the directory.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(lock, path, called)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _acquire(lock: int, path: Path, called: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "of unknown id"
        raise StateLocked(
            f"{called} = {str(path.parent)!r}: process {holder} writes to it; stop that process, "
            "or give this one a directory of its own"
        ) from error
