"""What reads the records of a stream, as the configuration says."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from streammeta.codec import decode, decode_examples
from streammeta.config import Config
from streammeta.events import Examples, HalfExamples, Question, Record, TaskEvent

Decode = Callable[[Record], TaskEvent | Examples | HalfExamples | Question]


def decoder(config: Config, kind: Literal["episode", "examples"]) -> Decode:
    """What reads a record of this kind, or raises BadEvent.

    One without labels asks where `predict.output_topic` is set. Inputs with an id bring half of an example,
    too, where they may wait for their labels.
    """
    max_bytes, max_examples = config.kafka.max_event_bytes, config.events.max_examples
    asks = bool(config.predict.output_topic)
    if kind == "episode":
        return partial(decode, max_bytes=max_bytes, max_examples=max_examples, asks=asks)
    return partial(
        decode_examples,
        max_bytes=max_bytes,
        max_examples=max_examples,
        asks=asks,
        waits=config.events.label_wait_events > 0,
    )
