"""Copies of the state made beside the loop, at most one a minute."""

from collections.abc import Callable
from threading import Thread

import structlog

from streammeta.config.schema import StateSection
from streammeta.errors import StateError
from streammeta.outcomes import Checkpointed, Outcome
from streammeta.state.copies import create, rotate
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore

PERIOD_SECONDS = 60.0
"""The least time between two copies: each reads and writes the whole state."""


class CopyKeeper:
    """An observer: behind a checkpoint, when the last copy is a minute old, makes one in a thread of its own.

    The first checkpoint of a life with events behind it makes one too. A copy that fails is told in the log
    and tried again a minute later; the learner goes on.
    """

    def __init__(
        self,
        settings: StateSection,
        directory: StateDirectory,
        store: LmdbStore,
        monotonic: Callable[[], float],
    ) -> None:
        self._keep = settings.keep_checkpoints
        self._directory = directory
        self._store = store
        self._monotonic = monotonic
        self._due_at = monotonic()
        self._thread: Thread | None = None
        self._first = True

    def __call__(self, outcome: Outcome) -> None:
        """Look whether a copy is due."""
        if not self._keep or not isinstance(outcome, Checkpointed) or not outcome.ok:
            return
        if self._first:  # nothing was learned in this life yet
            self._first = False
            return
        if self._monotonic() >= self._due_at and (self._thread is None or not self._thread.is_alive()):
            self._due_at = self._monotonic() + PERIOD_SECONDS
            self._thread = Thread(target=self._copy, name="copy of the state")
            self._thread.start()

    def close(self) -> None:
        """Wait for a copy in the making; the store must not close before."""
        if self._thread is not None:
            self._thread.join()

    def _copy(self) -> None:
        try:
            made = create(self._directory, self._store)
            rotate(self._directory, self._keep)
        except StateError as error:
            structlog.get_logger().warning("no copy of the state was made", reason=str(error))
        else:
            structlog.get_logger().debug("the state was copied", path=str(made.path), events=made.events)
