"""The states that a store has committed, each whole: what a daemon's page, `serve` and `predict` answer from.

A view is one read transaction of the store: its meta state and all tasks are those of one commit, whatever is
committed meanwhile, and neither the learner nor its writer waits for it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

import numpy as np

from streammeta.algorithms.base import State
from streammeta.errors import StateError
from streammeta.serving.asking import Known
from streammeta.state.buffers import unpack_buffer
from streammeta.state.checkpoint import Checkpoint, Origin, unpack
from streammeta.state.snapshot import LmdbSnapshot


class CommitView(NamedTuple):
    """A `View` of one commit, for as long as its snapshot lasts.

    Attributes:
        snapshot: The tasks.
        checkpoint: The meta state, tensors on the CPU.
        written_at_seconds: When it was committed, as Unix time.
    """

    snapshot: LmdbSnapshot
    checkpoint: Checkpoint
    written_at_seconds: float

    @property
    def state(self) -> State:
        """The learner's."""
        return self.checkpoint.state

    @property
    def events(self) -> int:
        """Events learned."""
        return self.checkpoint.progress.events

    def task(self, task: str) -> Known | None:
        """What the commit knows of the task."""
        found = self.snapshot.learned(task)
        if found is None:
            return None
        events, memory, buffer = found
        examples = unpack_buffer(buffer)[0].examples if buffer else None
        return Known(events, np.frombuffer(memory, self.checkpoint.origin.dtype), examples)


class Committed(Protocol):
    """A store on disk, as far as readers of its commits need it."""

    def written_at_seconds(self) -> float:
        """When the last commit was written, as Unix time."""

    def snapshot(self) -> AbstractContextManager[LmdbSnapshot]:
        """The last commit, for as long as the block runs."""


class Commits:
    """The last commit of a store, unpacked once. One thread at a time.

    Args:
        store: The store.
        origin: What its states must have been made with; None where nobody can put another one there.
    """

    def __init__(self, store: Committed, origin: Origin | None = None) -> None:
        self._store = store
        self._origin = origin
        self._number = -1
        self._checkpoint: Checkpoint | None = None

    @contextmanager
    def view(self) -> Iterator[CommitView]:
        """The last commit, while the block runs.

        Raises:
            StateError: nothing was committed yet, or it is damaged.
        """
        written_at_seconds = self._store.written_at_seconds()  # first: never younger than what is seen
        with self._store.snapshot() as snapshot:
            if self._checkpoint is None or snapshot.number != self._number:
                meta = snapshot.load()
                if meta is None:
                    raise StateError("nothing was committed yet; ask again in a moment")
                self._checkpoint, self._number = self._fitting(unpack(meta)), snapshot.number
            yield CommitView(snapshot, self._checkpoint, written_at_seconds)

    def _fitting(self, found: Checkpoint) -> Checkpoint:
        origin = self._origin
        if origin is not None and (found.origin.config_hash, found.origin.layout, found.origin.constants) != (
            origin.config_hash,
            origin.layout,
            origin.constants,
        ):
            raise StateError("a state of other settings was put in this one's place; start again to serve it")
        return found
