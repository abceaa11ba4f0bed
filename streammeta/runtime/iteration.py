"""One iteration: its events learned together, those to blame for a refusal found and left out.

All is decided from the engine's state and the events, so a replay decides the same.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streammeta.episodes.cutter import Portion
from streammeta.episodes.gathering import Read, Repeated
from streammeta.errors import BadEvent, OutOfMemory, Reason
from streammeta.events import Change, Flaw, TaskEvent
from streammeta.learner.chunk import Placed
from streammeta.learner.engine import Engine


class Changed(NamedTuple):
    """What is kept of a task was changed; `known`: there was something to change."""

    change: Change
    known: bool


Result = int | Changed | BadEvent | Repeated
"""What came of a record: how many events were learned (0: its examples only wait), a change, a refusal, or
nothing."""


class Item(NamedTuple):
    """A record of an iteration, and its events in the engine's chunk."""

    read: Read
    placed: Sequence[Placed]


def place(engine: Engine, read: Read, flaw: Flaw | None = None) -> Item:
    """Bring a record's events into the engine's chunk; with a `flaw` they are refused when learned."""
    placed: Sequence[Placed] = ()
    if isinstance(read, TaskEvent):
        placed = (engine.place(read),)
    elif isinstance(read, Portion):
        placed = [engine.place(event) for event in read.events]
    if flaw is not None:
        for one in placed:
            one.group.refused[one.place] = BadEvent(Reason(flaw.reason), flaw.message, stage="step")
    return Item(read, placed)


def try_alone(engine: Engine, item: Item) -> None:
    """Try a loaded event as alone as it would be if it were to blame for a refusal; nothing is kept."""
    if len(item.placed) == 1:
        engine.refusal(item.placed[0])


def iterate(engine: Engine, items: Sequence[Item]) -> list[Result]:
    """Learn from the loaded events, all of different tasks and equal shapes; keep what only waits.

    When the engine refuses the iteration, each event is tried alone and nothing kept: those that are refused
    alone are refused, the others are one iteration. When none is (their updates overflow only together), each
    becomes an iteration of its own. A refused iteration of B events costs up to 2 B further steps.

    The events of a record that makes several are learned one after the other; when one is refused, so is the
    record, and none of them is kept.

    Returns:
        A result for each of `items`, in their order; what is a refusal, or repeated, already stays so.
    """
    if len(items) == 1 and isinstance(items[0].read, TaskEvent):  # nearly all are
        return [_alone(engine, items[0].placed)]
    if len(items) == 1 and isinstance(items[0].read, Change):
        return [Changed(items[0].read, engine.change(items[0].read))]
    for read, placed in items:
        if isinstance(read, Portion) and not placed:
            engine.hold(read.task, read.after)
    learned = _held_back(engine, items)
    single = {
        number: placed[0]
        for number, (_, placed) in enumerate(items)
        if len(placed) == 1 and number not in learned
    }
    learned |= _learn(engine, single)
    results: list[Result] = []
    for number, (read, placed) in enumerate(items):
        if isinstance(read, BadEvent | Repeated):
            results.append(read)
            continue
        result = learned[number] if number in learned else _in_turn(engine, placed)
        results.append(result)
        if isinstance(read, Portion) and placed:
            engine.hold(read.task, read.refused if isinstance(result, BadEvent) else read.after)
    return results


def _held_back(engine: Engine, items: Sequence[Item]) -> dict[int, Result]:
    """The items whose task is in quarantine; examples that only wait are taken all the same."""
    if not engine.quarantine:
        return {}
    refusals = {
        number: engine.quarantine.refusal(placed[0].event.task)
        for number, (_, placed) in enumerate(items)
        if placed
    }
    return {number: refusal for number, refusal in refusals.items() if refusal is not None}


def _alone(engine: Engine, event: Sequence[Placed]) -> Result:
    refusal = engine.quarantine.refusal(event[0].event.task)
    if refusal is not None:
        return refusal
    try:
        engine.learn(event)
    except BadEvent as error:
        return error
    return 1


def _in_turn(engine: Engine, events: Sequence[Placed]) -> Result:
    """Learn from events of one task, all or none."""
    if not events:
        return 0
    mark = engine.mark(events[0])
    try:
        for event in events:
            engine.learn([event])
    except BadEvent as refusal:
        engine.back(mark)
        return refusal
    return len(events)


def _learn(engine: Engine, events: Mapping[int, Placed]) -> dict[int, Result]:
    if not events:
        return {}
    try:
        engine.learn([*events.values()])
        return dict.fromkeys(events, 1)
    except BadEvent as refusal:
        if len(events) == 1:
            return dict.fromkeys(events, refusal)
        together = refusal
    results: dict[int, Result] = {}
    for number, event in events.items():
        refusal_alone = engine.refusal(event)
        if refusal_alone is not None:
            results[number] = refusal_alone
    if isinstance(together, OutOfMemory) and not results:
        return dict.fromkeys(events, together)  # apart they would be other iterations, and other bits
    sound = {number: event for number, event in events.items() if number not in results}
    for part in [sound] if results else [{number: event} for number, event in events.items()]:
        results |= _learn(engine, part)
    return results
