"""How a configuration reads records: as the contract has them, or after a function of the user's."""

from collections.abc import Callable
from functools import partial

from streammeta.codec import decode, decode_examples
from streammeta.codec.foreign import translated
from streammeta.config import Config
from streammeta.events import Examples, HalfExamples, Question, Record, TaskEvent
from streammeta.models.loading import load_callable

Content = TaskEvent | Examples | HalfExamples | Question
Decode = Callable[[Record], Content]


def decoder_of(config: Config, kind: str | None = None) -> Decode:
    """What reads a record of `kind`, by default `events.kind`, or raises BadEvent.

    One without labels asks where `predict.output_topic` is set. Inputs with an id bring half of an example,
    too, where they may wait for their labels.

    Raises:
        ConfigError: `events.decoder` names nothing that can be called.
    """
    max_bytes, max_examples = config.kafka.max_event_bytes, config.events.max_examples
    asks, name = bool(config.predict.output_topic), config.events.decoder
    if (kind or config.events.kind) == "episode":
        read: Decode = partial(decode, max_bytes=max_bytes, max_examples=max_examples, asks=asks)
    else:
        waits = config.events.label_wait_events > 0
        read = partial(
            decode_examples, max_bytes=max_bytes, max_examples=max_examples, asks=asks, waits=waits
        )
    if not name:
        return read
    foreign = load_callable(name, "events.decoder")
    return lambda record: read(translated(record, foreign, name, max_bytes))
