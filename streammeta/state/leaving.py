"""Rows on their way into the store: a copy of what is dirty, made ready for the commit beside the loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streammeta.evaluation.drift import BEGUN, Series
from streammeta.evaluation.forgetting import Samples
from streammeta.state.buffers import Buffer, pack_buffer, waiting
from streammeta.state.rows import KNOWN_BYTES, Packed, PackedRows, pack_tail
from streammeta.state.task_table import EVENTS, MEMORY_NORM, Words, integers

AT_ONCE: Final = 1024
"""Rows whose norms are taken together."""
_NOTHING_KEPT: Final = (Buffer(), ())


class Leaving(NamedTuple):
    """Tasks as they stood when the copy was made.

    Attributes:
        tasks: Their ids.
        memories: Their memories, shape (tasks, M).
        words, reset_after: Their statistics, as `TaskTable` has them.
        drift: The same by place.
        kept: What each has gathered, and its earlier query sets; empty where no task of the cache has any.
    """

    tasks: Sequence[str]
    memories: Tensor
    words: Words
    reset_after: NDArray[np.int64]
    drift: Mapping[int, Series]
    kept: Sequence[tuple[Buffer, Samples]] = ()

    def rows(self, params_of: Callable[[Tensor], Tensor] = lambda memory: memory) -> PackedRows:
        """The rows as the store keeps them, with the norms of `params_of`; None is a task to forget.

        Some 2 µs a row, and any thread may do it.
        """
        events = integers(self.words)[:, EVENTS]
        remembered = events > self.reset_after
        self._measure(np.flatnonzero(remembered), params_of)
        tails = self._tails()
        stats, memories = self.words.tobytes(), self.memories.cpu().numpy()
        rows: dict[str, Packed | None] = {}
        about = zip(self.tasks, remembered.tolist(), (events > 0).tolist(), strict=True)
        for place, (task, remembers, learned) in enumerate(about):
            buffer, samples = self.kept[place] if self.kept else _NOTHING_KEPT
            if not learned and buffer.empty:
                rows[task] = None
                continue
            rows[task] = Packed(
                stats[place * KNOWN_BYTES : (place + 1) * KNOWN_BYTES] + tails.get(place, b""),
                memories[place].tobytes() if remembers else b"",
                pack_buffer(buffer, samples) if self.kept else b"",
                waiting(buffer, learned=learned) if self.kept else None,
            )
        return PackedRows(rows)

    def _tails(self) -> dict[int, bytes]:
        """By place, what follows the words of one, where something does."""
        places = {*np.flatnonzero(self.reset_after).tolist(), *self.drift}
        return {
            place: pack_tail(int(self.reset_after[place]), self.drift.get(place, BEGUN)) for place in places
        }

    def _measure(self, places: NDArray[np.int64], params_of: Callable[[Tensor], Tensor]) -> None:
        """Write down the norms; each is a sum of its own, whichever rows leave together."""
        norm = torch.vmap(params_of)
        for begin in range(0, len(places), AT_ONCE):
            some = places[begin : begin + AT_ONCE]
            norms = torch.linalg.vector_norm(norm(self.memories[torch.from_numpy(some)]), dim=1)
            self.words[some, MEMORY_NORM] = norms.cpu().numpy()
