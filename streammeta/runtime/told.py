"""What is told of a chunk: columns of what was learned, and what came of the other records."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from streammeta.episodes.gathering import Repeated, Taken
from streammeta.errors import BadEvent
from streammeta.events import Change, Forget, Record, Release, Reset
from streammeta.learner.folded import Folded
from streammeta.outcomes import Duplicate, Learned, Outcome, Refused, Skipped, Stages, TaskChange, TaskChanged
from streammeta.runtime.iteration import Changed, Result


def learned(
    topic: str,
    taken: Sequence[Taken],
    results: Sequence[Result],
    folded: Folded | None,
    chunk_seconds: tuple[float, float, float],
    *,
    now_seconds: float,
    inner_lr: float,
) -> Learned | None:
    """The columns of the events that were learned from these records; None where there were none.

    `chunk_seconds`: what it took to load the rows, to learn, and to fold.
    """
    if folded is None:
        return None
    count = len(folded.events)
    partitions = [
        one.record.partition
        for one, result in zip(taken, results, strict=True)
        if isinstance(result, int)
        for _ in range(result)
    ]
    load, step, store = (seconds / count for seconds in chunk_seconds)
    event_times_ms = np.array([event.time_ms for event in folded.events], np.float64)
    return Learned(
        topic=topic,
        partitions=partitions,
        tasks=[event.task for event in folded.events],
        events=folded.progress.events,
        task_events=folded.visits.counts,
        losses=folded.judged[:, :3],
        task_losses=folded.visits.losses,
        means=folded.means,
        prequential=folded.progress.prequential,
        gradient_norms=folded.column("gradient_norm"),
        update_norms=folded.column("update_norm"),
        tracking_errors=folded.column("tracking_error"),
        staleness_events=folded.visits.staleness,
        inner_lr=inner_lr,
        meta_lrs=folded.meta_rates,
        ages_seconds=now_seconds - event_times_ms / 1000,
        stages=Stages(sum(one.decode_seconds for one in taken) / count, load, step, store),
        predictions=folded.predictions,
        drifts=folded.drifts,
    )


def outcome_of(topic: str, record: Record, result: Result) -> Outcome | None:
    """Of a record that nothing was learned from; None where something was."""
    if isinstance(result, BadEvent):
        return Refused(topic, record.partition, record.offset, result.reason, str(result))
    if isinstance(result, Repeated):
        return Duplicate(topic, record.partition, record.offset, sent_again=True)
    if isinstance(result, Changed):
        change = result.change
        return TaskChanged(
            topic, record.partition, record.offset, change.task, _CHANGES[type(change)], result.known
        )
    return None if result else Skipped(topic, record.partition, record.offset)


_CHANGES: Final[Mapping[type[Change], TaskChange]] = {
    Forget: "forget",
    Reset: "reset",
    Release: "release",
}
