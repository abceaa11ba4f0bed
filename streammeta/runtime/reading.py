"""How a configuration reads records: as the contract has them, or after a function of the user's."""

from collections.abc import Callable
from functools import partial

from streammeta.codec import decode, decode_examples
from streammeta.codec.foreign import translated
from streammeta.config import Config
from streammeta.events import Examples, HalfExamples, Record, TaskEvent
from streammeta.models.loading import load_callable

Decode = Callable[[Record], TaskEvent | Examples | HalfExamples]


def decoder_of(config: Config, kind: str | None = None) -> Decode:
    """What reads a record of `kind`, by default `events.kind`, or raises BadEvent.

    Raises:
        ConfigError: `events.decoder` names nothing that can be called.
    """
    max_bytes, name = config.kafka.max_event_bytes, config.events.decoder
    read: Decode = partial(
        decode if (kind or config.events.kind) == "episode" else decode_examples,
        max_bytes=max_bytes,
        max_examples=config.events.max_examples,
    )
    if not name:
        return read
    foreign = load_callable(name, "events.decoder")
    return lambda record: read(translated(record, foreign, name, max_bytes))
