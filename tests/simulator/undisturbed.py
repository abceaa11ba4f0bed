"""An undisturbed run of the real engine over the iterations of a journal: no loop, no broker, no disk."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from streammeta.codec import decode, with_changes
from streammeta.config import Config
from streammeta.episodes.gathering import Read
from streammeta.errors import BadEvent
from streammeta.events import Change, Record, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.runtime.blueprint import Blueprint
from streammeta.runtime.iteration import iterate, place
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress


class Undisturbed(NamedTuple):
    """The engine when it has learned from all, and what it refused."""

    engine: Engine
    refused: list[tuple[Record, BadEvent]]


def undisturbed(config: Config, blueprint: Blueprint, iterations: Sequence[Sequence[Record]]) -> Undisturbed:
    """Learn from these."""
    empty = blueprint.network.initial.new_zeros(blueprint.learner.memory_size)
    memories = Memories(lambda tasks: [None] * len(tasks), empty, 1_000)
    state = blueprint.learner.init(blueprint.network.initial)
    engine = Engine(blueprint.network, blueprint.steps, state, Progress(), memories)
    refused: list[tuple[Record, BadEvent]] = []
    for records in iterations:
        items = [place(engine, _read(config, record)) for record in records]
        tasks = [item.read.task for item in items if isinstance(item.read, TaskEvent | Change)]
        engine.load(tasks)
        results = zip(records, iterate(engine, items), strict=True)
        refused += [(record, result) for record, result in results if isinstance(result, BadEvent)]
        engine.fold(tasks)
    return Undisturbed(engine, refused)


def _read(config: Config, record: Record) -> Read:
    try:
        return with_changes(partial(decode, max_bytes=config.kafka.max_event_bytes), tombstones=True)(record)
    except BadEvent as refusal:
        return refusal
