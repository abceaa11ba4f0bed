"""Records that change what is kept of a task: in the topic, so that they have a place in the stream's order.

key = task id, value null: a tombstone; what is kept of the task is forgotten, whatever the headers say
key = task id, header `streammeta.control: release | reset`, any value that is not null
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from streammeta.codec.envelope import task_of
from streammeta.errors import BadEvent, Reason
from streammeta.events import Change, Forget, Record, Release, Reset

CONTROL: Final = "streammeta.control"
"""Header of such a record."""
RELEASE: Final = b"release"
RESET: Final = b"reset"

_CHANGES: Final[Mapping[bytes, type[Release | Reset]]] = {RELEASE: Release, RESET: Reset}

Content = TypeVar("Content")


def with_changes(
    decode: Callable[[Record], Content], *, tombstones: bool
) -> Callable[[Record], Content | Change]:
    """`decode`, which also knows the records that change what is kept of a task.

    `tombstones`: those without a value are tombstones; else `decode` refuses them.
    """

    def read(record: Record) -> Content | Change:
        if record.headers or record.value is None:
            change = change_of(record, tombstones=tombstones)
            if change is not None:
                return change
        return decode(record)

    return read


def change_of(record: Record, *, tombstones: bool = True) -> Change | None:
    """What the record changes; None where it changes nothing, and is to be decoded, or refused, as others.

    Raises:
        BadEvent: it asks for something unknown, names no task, or is to be passed by.
    """
    kind: type[Change] | None = None
    if record.value is None:
        kind = Forget if tombstones and not _unread(record) else None
    else:
        for name, content in record.headers:
            if name == CONTROL:
                kind = _kind(content)
                break
    if kind is None:
        return None
    if record.flaw is not None:
        raise BadEvent(Reason(record.flaw.reason), record.flaw.message, stage=record.flaw.stage)
    return kind(task_of(record.key))


def _unread(record: Record) -> bool:
    """Whether the record has no value here because it could not be had."""
    return record.flaw is not None and record.flaw.stage == "read"


def _kind(content: bytes | None) -> type[Release | Reset]:
    found = _CHANGES.get(content or b"")
    if found is None:
        known = ", ".join(name.decode() for name in _CHANGES)
        raise BadEvent(Reason.UNDECODABLE, f"header {CONTROL}: {content!r} is unknown; use one of {known}")
    return found
