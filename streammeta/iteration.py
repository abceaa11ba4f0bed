"""One iteration: its events learned together, those to blame for a refusal found and left out.

All is decided from the engine's state and the events, so a replay decides the same.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from streammeta.engine import Engine, Step, Update
from streammeta.errors import BadEvent
from streammeta.events import TaskEvent

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


Result = Learnt | BadEvent


def iterate(engine: Engine, reads: Sequence[TaskEvent | BadEvent], tick: Tick) -> list[Result]:
    """Learn from the events among `reads`, all of different tasks and equal shapes.

    When the engine refuses the iteration, each event is tried alone and nothing kept: those that are refused
    alone are refused, the others are one iteration. When none is (their updates overflow only together), each
    becomes an iteration of its own. A refused iteration of B events costs up to 2 B further steps.

    Returns:
        A result for each of `reads`, in their order; what is a refusal already stays one.
    """
    events = {number: read for number, read in enumerate(reads) if isinstance(read, TaskEvent)}
    results = _learn(engine, events, tick)
    return [read if isinstance(read, BadEvent) else results[number] for number, read in enumerate(reads)]


def _learn(engine: Engine, events: Mapping[int, TaskEvent], tick: Tick) -> dict[int, Result]:
    if not events:
        return {}
    try:
        return dict(zip(events, _step(engine, list(events.values()), tick), strict=True))
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
