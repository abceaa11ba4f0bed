"""One iteration: its events learned together, those to blame for a refusal found and left out.

All is decided from the engine's state and the events, so a replay decides the same.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from streammeta.episodes.cutter import Portion
from streammeta.episodes.gathering import Read, events_of
from streammeta.errors import BadEvent
from streammeta.events import TaskEvent
from streammeta.learner.engine import Engine, Step, Update

Tick = Callable[[], float]
"""Reads a clock that never goes back, in seconds."""


class Learnt(NamedTuple):
    """What an iteration did to one of its events, and the event's share of the time that it took."""

    event: TaskEvent
    step: Step
    update: Update
    load_seconds: float
    step_seconds: float
    store_seconds: float


Result = tuple[Learnt, ...] | BadEvent
"""What came of a record: what was learned from it, nothing where its examples only wait, or a refusal."""


def iterate(engine: Engine, reads: Sequence[Read], tick: Tick) -> list[Result]:
    """Learn from the events among `reads`, all of different tasks and equal shapes; keep what only waits.

    When the engine refuses the iteration, each event is tried alone and nothing kept: those that are refused
    alone are refused, the others are one iteration. When none is (their updates overflow only together), each
    becomes an iteration of its own. A refused iteration of B events costs up to 2 B further steps.

    The events of a record that makes several are learned one after the other; when one is refused, so is the
    record, and none of them is kept.

    Returns:
        A result for each of `reads`, in their order; what is a refusal already stays one.
    """
    for read in reads:
        if isinstance(read, Portion) and not read.events:
            engine.hold(read.task, read.after)
    single = {n: events_of(read)[0] for n, read in enumerate(reads) if len(events_of(read)) == 1}
    learned = _learn(engine, single, tick)
    results: list[Result] = []
    for number, read in enumerate(reads):
        if isinstance(read, BadEvent):
            results.append(read)
            continue
        result = learned[number] if number in learned else _in_turn(engine, events_of(read), tick)
        results.append(result)
        if isinstance(read, Portion) and read.events:
            engine.hold(read.task, read.refused if isinstance(result, BadEvent) else read.after)
    return results


def _in_turn(engine: Engine, events: Sequence[TaskEvent], tick: Tick) -> Result:
    """Learn from events of one task, all or none."""
    if not events:
        return ()
    mark, learnt = engine.mark(events[0].task), list[Learnt]()
    try:
        for event in events:
            learnt += _step(engine, [event], tick)
    except BadEvent as refusal:
        engine.back(mark)
        return refusal
    return tuple(learnt)


def _learn(engine: Engine, events: Mapping[int, TaskEvent], tick: Tick) -> dict[int, Result]:
    if not events:
        return {}
    try:
        learnt = _step(engine, list(events.values()), tick)
        return {number: (one,) for number, one in zip(events, learnt, strict=True)}
    except BadEvent as refusal:
        if len(events) == 1:
            return dict.fromkeys(events, refusal)
    results: dict[int, Result] = {}
    for number, event in events.items():
        refusal_alone = _refusal(engine, event)
        if refusal_alone is not None:
            results[number] = refusal_alone
    sound = {number: event for number, event in events.items() if number not in results}
    for part in [sound] if results else [{number: event} for number, event in events.items()]:
        results |= _learn(engine, part, tick)
    return results


def _refusal(engine: Engine, event: TaskEvent) -> BadEvent | None:
    """Why the engine refuses the event alone; None when it does not. Changes nothing."""
    try:
        engine.step([event], engine.load([event]))
    except BadEvent as refusal:
        return refusal
    return None


def _step(engine: Engine, events: Sequence[TaskEvent], tick: Tick) -> list[Learnt]:
    """Hop 3, timed."""
    times = [tick()]
    entries = engine.load(events)
    times.append(tick())
    step = engine.step(events, entries)
    times.append(tick())
    engine.keep(step)
    times.append(tick())
    shares = [(end - begin) / len(events) for begin, end in pairwise(times)]
    return [Learnt(event, step, update, *shares) for event, update in zip(events, step.updates, strict=True)]
