"""What a challenger tells the champion, once a second, a line of JSON each; and what begins it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

LINE_BYTES: Final = 4 << 20
"""Of a report: whoever sends more is ended."""

CURVE: Final = ("events", "fading_meta", "fading_adapted", "fading_memory")
"""What is told of its history."""


class Request(msgspec.Struct, frozen=True):
    """What a challenger's process is asked for: the first line that it reads.

    Attributes:
        name: Its name.
        champion: The champion's configuration file, if it has one.
        overrides: The champion's flags.
        path: The challenger's configuration file.
        feed: The feed's directory.
    """

    name: str
    champion: str | None
    overrides: tuple[str, ...]
    path: str
    feed: str


class Report(msgspec.Struct, frozen=True):
    """How it stands.

    Attributes:
        status: As its own `/api/v1/status`, less troubles; None before it has a state.
        positions: What it has taken, by partition.
        segment: The oldest segment of the feed that it needs; -1 while it is not known.
        address: Where its own page is.
        stuck: Why nothing moves, in words; "" while something does.
        curve: Its prequential losses over its own events, where they changed since the last report.
        failure: Why it ends, in words.
        exit_code: With which code.
    """

    status: dict[str, Any] | None = None
    positions: dict[int, int] = {}
    segment: int = -1
    address: str = ""
    stuck: str = ""
    curve: Mapping[str, Sequence[float | None]] | None = None
    failure: str = ""
    exit_code: int = 0


def line_of(message: Report | Request) -> bytes:
    """As it is sent."""
    return msgspec.json.encode(message) + b"\n"
