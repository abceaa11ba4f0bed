"""What a topic takes: an event as key, value and headers, in either encoding of the wire."""

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from streammeta.codec import CONTENT_TYPE, JSON, MSGPACK, TIME, encode_json, encode_msgpack
from streammeta.datasets.table import Example
from streammeta.events import Array, Episode

Format = Literal["json", "msgpack"]

_FORMATS: dict[Format, tuple[str, Callable[..., bytes]]] = {
    "json": (JSON, encode_json),
    "msgpack": (MSGPACK, encode_msgpack),
}
FORMATS = tuple(_FORMATS)


class Message(NamedTuple):
    """A record before it has a place.

    Without a value it is a tombstone. `headers` is a list because kafka-python asks for one. `due_seconds`,
    after the first message, is when it shall be sent where a stream has times of its own.
    """

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    due_seconds: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Key and value together."""
        return len(self.key) + len(self.value or b"")


def table_messages(
    stream: Iterable[Example], form: Format, *, dated: bool = False, speed: float = math.inf
) -> Iterator[Message]:
    """The examples of `stream`, each as a message, with the level and the scale of its target.

    One that asks has no labels.

    Args:
        stream: As `table` and `series` give it.
        form: The encoding.
        dated: Times are seconds since 1970: they become the event time.
        speed: Units of the stream's time that pass in a second.
    """
    content_type, encode = _FORMATS[form]
    first = None
    for example in stream:
        first = example.time if first is None else first
        headers = [(CONTENT_TYPE, content_type.encode())]
        if dated:
            moment = datetime.fromtimestamp(example.time, UTC)
            headers.append((TIME, moment.isoformat(timespec="milliseconds").encode()))
        beside = {"level": example.level, "scale": example.scale}
        value = encode(example.examples, beside, labelled=not example.asks)
        yield Message(example.task.encode(), value, headers, (example.time - first) / speed)


def messages(
    stream: Iterable[tuple[str, Episode[Array]]], form: Format, *, asking: Callable[[], bool] = lambda: False
) -> Iterator[Message]:
    """The events of `stream`, each as a message; the key is the task id.

    `asking`: whether the next one asks for a prediction, so that its query set has no labels.

    >>> import numpy as np
    >>> from streammeta.events import episode_of
    >>> one = np.ones((1, 1), np.float32)
    >>> next(messages([("a/1", episode_of(one, one, one, one))], "json"))[::2]
    (b'a/1', [('content-type', b'application/json')])
    """
    content_type, encode = _FORMATS[form]
    for task, episode in stream:
        value = encode(episode, labelled=not asking())
        yield Message(task.encode(), value, [(CONTENT_TYPE, content_type.encode())])
