"""Records that ask something of the learner: in the topic, so that they have a place in the stream's order.

key = task id, header `streammeta.control: release`, value not null (a null value forgets the task)
"""

from typing import Final

from streammeta.codec.envelope import task_of
from streammeta.errors import BadEvent, Reason
from streammeta.events import Record, Release

CONTROL: Final = "streammeta.control"
"""Header of such a record."""
RELEASE: Final = b"release"


def release_of(record: Record) -> Release | None:
    """What it asks for; None where it asks for nothing.

    Raises:
        BadEvent: it asks for something unknown, or names no task.
    """
    for name, content in record.headers:
        if name == CONTROL:
            if content != RELEASE:
                raise BadEvent(
                    Reason.UNDECODABLE,
                    f"header {CONTROL}: {content!r} is unknown; {RELEASE.decode()!r} is not",
                )
            return Release(task_of(record.key))
    return None
