"""Rows on their way into the store: a copy of what is dirty, made ready for the commit beside the loop."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.evaluation.forgetting import Samples
from streammeta.state.buffers import Buffer, pack_buffer, waiting
from streammeta.state.store import TaskRow, TaskStats


class Leaving(NamedTuple):
    """Tasks as they stood when the copy was made.

    Attributes:
        tasks: Their ids.
        memories: Their memories, shape (tasks, M).
        stats: Their statistics.
        kept: What each has gathered, and its earlier query sets; empty where no task of the cache has any.
    """

    tasks: Sequence[str]
    memories: Tensor
    stats: Sequence[TaskStats]
    kept: Sequence[tuple[Buffer, Samples]] = ()

    def rows(
        self, params_of: Callable[[Tensor], Tensor] = lambda memory: memory
    ) -> dict[str, TaskRow | None]:
        """The rows as the store keeps them, with the norms of `params_of`; None is a task to forget.

        Some 10 µs a row, and any thread may do it. A norm is taken row by row: its bits must not depend on
        which rows leave together.
        """
        memories = self.memories.cpu().numpy()
        kept = self.kept or [(Buffer(), ())] * len(self.tasks)
        rows: dict[str, TaskRow | None] = {}
        for place, (task, stats, (buffer, samples)) in enumerate(
            zip(self.tasks, self.stats, kept, strict=True)
        ):
            if stats.remembered:
                norm = torch.linalg.vector_norm(params_of(self.memories[place])).item()
                memory, stats_now = memories[place].tobytes(), stats._replace(memory_norm=norm)
            elif stats.events or not buffer.empty:
                memory, stats_now = b"", stats
            else:
                rows[task] = None
                continue
            since = waiting(buffer, learned=stats.events > 0)
            rows[task] = TaskRow(stats_now, memory, pack_buffer(buffer, samples), since)
        return rows
