"""What a topic takes: an event as key, value and headers, in either encoding of the wire."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from streammeta.codec import CONTENT_TYPE, JSON, MSGPACK, encode_json, encode_msgpack
from streammeta.events import Array, Episode

Format = Literal["json", "msgpack"]

_FORMATS: dict[Format, tuple[str, Callable[[Episode[Array]], bytes]]] = {
    "json": (JSON, encode_json),
    "msgpack": (MSGPACK, encode_msgpack),
}
FORMATS = tuple(_FORMATS)


class Message(NamedTuple):
    """A record before it has a place. `headers` is a list because kafka-python asks for one."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]

    @property
    def size_bytes(self) -> int:
        """Key and value together."""
        return len(self.key) + len(self.value)


def messages(stream: Iterable[tuple[str, Episode[Array]]], form: Format) -> Iterator[Message]:
    """The events of `stream`, each as a message; the key is the task id.

    >>> import numpy as np
    >>> from streammeta.events import episode_of
    >>> one = np.ones((1, 1), np.float32)
    >>> next(messages([("a/1", episode_of(one, one, one, one))], "json"))[::2]
    (b'a/1', [('content-type', b'application/json')])
    """
    content_type, encode = _FORMATS[form]
    for task, episode in stream:
        yield Message(task.encode(), encode(episode), [(CONTENT_TYPE, content_type.encode())])
