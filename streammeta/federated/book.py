"""What the server knows: w, how far it came, and statistics of each client; a round is folded into it.

It is a state as the daemon's, in the same store: a client is a task, its part in a round an event, and the
next round is the next offset of partition 0. What reads a state reads this one too. A client's memory is
not in it, for the server never sees one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from streammeta.algorithms.base import State
from streammeta.algorithms.local_moml import average
from streammeta.errors import StateError
from streammeta.federated.calling import Answer
from streammeta.learner.folding import Means, Numbers, fold_stream
from streammeta.learner.visits import visited
from streammeta.outcomes import Learned, Stages
from streammeta.runtime.blueprint import Blueprint, restore
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.progress import Progress
from streammeta.state.store import Store, TaskRow, TaskStats
from streammeta.state.task_table import TaskTable

TOPIC: Final = "federated"
"""What a federation is called where the daemon's page names its topic."""
_TOLD: Final = {
    "meta": "loss_meta",
    "adapted": "loss_adapted",
    "memory": "loss_memory",
    "tracking_error": "tracking_error",
    "accuracy_meta": "accuracy_meta",
    "accuracy_adapted": "accuracy_adapted",
    "accuracy_memory": "accuracy_memory",
}
"""Fields of `Means` -> what clients call them."""


@dataclass
class Book:
    """The server's state between two rounds.

    Attributes:
        begun: The checkpoint that it began with.
        state: w; the rates.
        progress: Answers folded, and means over them.
        number: The next round.
        rows: What changed of the clients since the last commit.
    """

    begun: Checkpoint
    state: State
    progress: Progress
    number: int
    rows: dict[str, TaskRow]

    @classmethod
    def open(cls, blueprint: Blueprint, store: Store, identity: str) -> "Book":
        """Where the state in the store stands, or the first one.

        Raises:
            StateError: it was made with other settings, or by another federation.
        """
        begun = restore(blueprint, store)
        if begun.positions and begun.topic_id != identity:
            raise StateError(
                f"the state was made by another federation:\n  then: {begun.topic_id or 'a Kafka topic'}\n  "
                f"now:  {identity}\nrestore these settings, or name a new state directory to begin anew"
            )
        begun = replace(begun, topic_id=identity)
        return cls(begun, begun.state, begun.progress, begun.positions.get(0, 0), {})

    def fold(self, answers: Sequence[Answer], store: Store, now_ms: int, stages: Stages) -> Learned | None:
        """End the round: w ← the mean of the w_i of those that answered; None when nobody did.

        Costs some 10 µs an answer.
        """
        self.number += 1
        if not answers:
            return None
        before = self.state.params
        clients = [answer.params for answer in answers if answer.params is not None]
        self.state = self.state._replace(params=average(torch.stack(clients)))
        names = [answer.name for answer in answers]
        stats = TaskTable([TaskStats() if row is None else row.stats for row in self._rows(names, store)])
        judged = np.array([_judged(answer.measured) for answer in answers])
        first, times = self.progress.events + 1, [now_ms] * len(names)
        visits = visited(stats, range(len(names)), times, judged, first)
        prequential, means = fold_stream(self.progress.prequential, judged)
        self.progress = Progress(self.progress.events + len(names), prequential)
        self.rows |= {
            name: TaskRow(one, b"")
            for name, one in zip(names, map(stats.__getitem__, range(len(names))), strict=True)
        }
        moved = torch.linalg.vector_norm(self.state.params - before).item()
        return Learned(
            topic=TOPIC,
            partitions=[0] * len(names),
            tasks=names,
            events=self.progress.events,
            task_events=visits.counts,
            losses=judged[:, :3],
            task_losses=visits.losses,
            means=means,
            prequential=prequential,
            gradient_norms=_column(answers, "gradient_norm"),
            update_norms=np.full(len(names), moved),
            tracking_errors=judged[:, Means._fields.index("tracking_error")],
            staleness_events=visits.staleness,
            inner_lr=self.state.inner_lr.item(),
            meta_lrs=np.full(len(names), self.state.meta_lr.item()),
            ages_seconds=np.full(len(names), sum(stages)),
            stages=stages,
        )

    def checkpoint(self) -> Checkpoint:
        """All of it but the clients' statistics."""
        return replace(self.begun, state=self.state, progress=self.progress, positions={0: self.number})

    def _rows(self, names: Sequence[str], store: Store) -> list[TaskRow | None]:
        stored = store.get_many(names)
        return [self.rows.get(name, row) for name, row in zip(names, stored, strict=True)]


def _judged(measured: Mapping[str, float]) -> list[float]:
    """A row of `Means`."""
    return [measured.get(_TOLD.get(name, ""), math.nan) for name in Means._fields]


def _column(answers: Sequence[Answer], name: str) -> Numbers:
    return np.array([answer.measured.get(name, math.nan) for answer in answers])
