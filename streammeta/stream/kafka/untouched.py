"""Records sent byte for byte: null keys, null values, null header values, header keys that are not UTF-8.

`KafkaProducer.send` refuses some of these itself; its serializers come later, and may put them in.
"""

from dataclasses import dataclass
from typing import Any, Final

from kafka.serializer import Serializer

from streammeta.events import Record
from streammeta.stream.kafka.header_keys import HeaderKey

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(eq=False)
class Untouched:
    """What is sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class _HeaderList(list[Any]):
    """Counts as false: kafka-python measures headers that are true, and cannot measure a null value."""

    def __bool__(self) -> bool:
        return False


class _Key(Serializer):  # type: ignore[misc]  # kafka-python ships no types
    def serialize(self, _topic: str, _headers: list[Any], data: Untouched) -> bytes | None:
        """The record's key; null stays null, which `KafkaProducer.send` itself would refuse."""
        return data.key


class _Value(Serializer):  # type: ignore[misc]  # kafka-python ships no types
    def serialize(self, _topic: str, headers: list[Any], data: Untouched) -> bytes | None:
        """The record's value; the headers join here, where a null value may be among them."""
        headers[:] = data.headers
        return data.value


UNTOUCHED: Final = {"key_serializer": _Key(), "value_serializer": _Value()}
"""Configuration of a `KafkaProducer` for `send_untouched`."""


def headers_of(record: Record) -> Headers:
    """Its headers, as they are sent."""
    return tuple((HeaderKey(name), content) for name, content in record.headers)


def send_untouched(producer: Any, topic: str, message: Untouched, **place: Any) -> Any:
    """`KafkaProducer.send`; `place` may give its partition and timestamp_ms."""
    return producer.send(topic, value=message, key=message, headers=_HeaderList(), **place)
