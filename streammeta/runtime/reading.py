"""How a configuration reads records: as the contract has them, or after a function of the user's."""

from collections.abc import Callable
from functools import partial
from typing import Any

from streammeta.codec import decode, decode_examples, with_changes
from streammeta.codec.foreign import translated
from streammeta.config import Config
from streammeta.events import Change, Examples, HalfExamples, Question, Record, TaskEvent
from streammeta.models.loading import load_callable

Content = TaskEvent | Examples | HalfExamples | Question
Decode = Callable[[Record], Content | Change]


def decoder_of(config: Config, kind: str | None = None) -> Decode:
    """What reads a record of `kind`, by default `events.kind`, or what changes a task; or raises BadEvent.

    One without labels asks where `predict.output_topic` is set. Inputs with an id bring half of an example,
    too, where they may wait for their labels.

    Raises:
        ConfigError: `events.decoder` names nothing that can be called.
    """
    bounds = {"max_bytes": config.kafka.max_event_bytes, "max_examples": config.events.max_examples}
    asks, name = bool(config.predict.output_topic), config.events.decoder
    read: Callable[[Record], Content]
    if (kind or config.events.kind) == "episode":
        read = partial(decode, asks=asks, **bounds)
    else:
        read = partial(decode_examples, asks=asks, waits=config.events.label_wait_events > 0, **bounds)
    if name:
        read = _after(load_callable(name, "events.decoder"), name, config.kafka.max_event_bytes, read)
    return with_changes(read, tombstones=config.events.tombstones == "forget")


def _after(
    foreign: Callable[..., Any], name: str, max_bytes: int, read: Callable[[Record], Content]
) -> Callable[[Record], Content]:
    """`read`, of what the user's function made of the record."""
    return lambda record: read(translated(record, foreign, name, max_bytes))
