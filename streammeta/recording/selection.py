"""Which rows of a recording are wanted: from a bound to a bound, of some tasks, of some parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streammeta.events import Array
from streammeta.recording.manifest import Part, Span


class Bound(NamedTuple):
    """An offset, the same in every partition, or a time of records in milliseconds since 1970."""

    kind: Literal["offset", "time"]
    value: int


def parse_bound(text: str) -> Bound:
    """A bound as a user writes it.

    Raises:
        ValueError: neither an offset nor an RFC 3339 time.

    >>> parse_bound("1200"), parse_bound("1970-01-01T00:00:01.5Z")
    (Bound(kind='offset', value=1200), Bound(kind='time', value=1500))
    """
    if re.fullmatch(r"\d+", text):
        return Bound("offset", int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"{text!r} is neither an offset (1200) nor an RFC 3339 time with its zone (2026-11-21T08:00:00Z)"
        )
    return Bound("time", round(time.timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows that meet all of these.

    Attributes:
        begin: At or after it.
        end: Before it.
        tasks: Keys; empty: all.
        without: Names of parts that are left out.
        after: Partition -> the first offset that is wanted.
    """

    begin: Bound | None = None
    end: Bound | None = None
    tasks: frozenset[bytes] = frozenset()
    without: frozenset[str] = frozenset()
    after: Mapping[int, int] = field(default_factory=dict)

    def may_hold(self, part: Part) -> bool:
        """Whether the part may have a wanted row, told by its ranges."""
        if part.name in self.without:
            return False
        spans = {"offset": _hull(part.offsets), "time": part.time_ms}
        return not (
            (self.begin is not None and spans[self.begin.kind].end <= self.begin.value)
            or (self.end is not None and spans[self.end.kind].first >= self.end.value)
            or all(span.end <= self.after.get(p, -1) for p, span in part.offsets.items())
        )

    def mask(self, batch: Any) -> Array | None:
        """Which rows are wanted; None for all."""
        masks = [self._column(batch, self.begin) >= self.begin.value] if self.begin else []
        masks += [self._column(batch, self.end) < self.end.value] if self.end else []
        if "time" in {bound.kind for bound in (self.begin, self.end) if bound}:
            masks.append(batch.column(2).to_numpy() >= 0)  # a time that is not known lies in no range
        if self.after:
            partitions, offsets = batch.column(0).to_numpy(), batch.column(1).to_numpy()
            masks += [(partitions != p) | (offsets >= offset) for p, offset in self.after.items()]
        if self.tasks:
            wanted = pa.array(sorted(self.tasks), pa.binary())
            masks.append(pc.is_in(batch.column(3), value_set=wanted).to_numpy(zero_copy_only=False))
        return np.logical_and.reduce(masks) if masks else None

    def _column(self, batch: Any, bound: Bound) -> Array:
        column: Array = batch.column(1 if bound.kind == "offset" else 2).to_numpy()
        return column


ALL = Selection()


def _hull(spans: Mapping[int, Span]) -> Span:
    return Span(min(span.first for span in spans.values()), max(span.end for span in spans.values()))
