"""What a task has gathered and not yet learned from: its examples, and halves that wait for their other half.

Part of the task's row, so it is committed with everything else. Records are numbered in the order in which
the state takes them, from 1; ages are differences of those numbers, so a replay lets the same things expire.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np

from streammeta.errors import StateError
from streammeta.evaluation.forgetting import Sample, Samples
from streammeta.events import Array, Batch, Part
from streammeta.state.rows import RESTORE
from streammeta.state.store import Waiting


class Half(NamedTuple):
    """Inputs that wait for their labels, or labels for their inputs; `since` is the number of its record."""

    part: Part
    array: Array
    since: int


class Buffer(NamedTuple):
    """What one task has gathered.

    Attributes:
        examples: Labelled examples in the model's numbers, older first; None while there are none.
        halves: By id.
        since: Number of the record that the task brought last; 0 before the first.
    """

    examples: Batch[Array] | None = None
    halves: Mapping[str, Half] = MappingProxyType({})
    since: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return self.examples is None and not self.halves

    @property
    def ready(self) -> int:
        """Labelled examples."""
        return 0 if self.examples is None else len(self.examples.x)


def waiting(buffer: Buffer, *, learned: bool) -> Waiting | None:
    """What of the buffer may expire; None for nothing. `learned`: the task has had an episode."""
    half = min((half.since for half in buffer.halves.values()), default=0)
    task = 0 if learned or buffer.empty else buffer.since
    return Waiting(task, half) if task or half else None


def concatenated(held: Batch[Array] | None, new: Batch[Array]) -> Batch[Array]:
    """The examples of both, the newer ones behind."""
    if held is None:
        return new
    return Batch(np.concatenate((held.x, new.x)), np.concatenate((held.y, new.y)))


def section(examples: Batch[Array] | None, begin: int, end: int | None = None) -> Batch[Array] | None:
    """Examples `begin` up to, not with, `end`, as arrays of their own; None when that is none."""
    if examples is None or not len(examples.x[begin:end]):
        return None
    return Batch(examples.x[begin:end].copy(), examples.y[begin:end].copy())


def pack_buffer(buffer: Buffer, samples: Samples = ()) -> bytes:
    """The buffer, and the task's sample of query sets, as bytes; none when there is neither."""
    if buffer.empty and not samples:
        return b""
    examples = None if buffer.examples is None else [_plain(array) for array in buffer.examples]
    halves = {name: [half.part, _plain(half.array), half.since] for name, half in buffer.halves.items()}
    earlier = [[*map(_plain, sample.query), sample.loss] for sample in samples]
    return msgspec.msgpack.encode([buffer.since, examples, halves, earlier])


def unpack_buffer(packed: bytes) -> tuple[Buffer, Samples]:
    """The inverse of `pack_buffer`.

    Raises:
        StateError: no such bytes, so the state was damaged.
    """
    if not packed:
        return Buffer(), ()
    try:
        since, examples, halves, earlier = msgspec.msgpack.decode(packed)
        buffer = Buffer(
            None if examples is None else Batch(*(_array(plain) for plain in examples)),
            {name: Half(part, _array(plain), number) for name, (part, plain, number) in halves.items()},
            since,
        )
        return buffer, tuple(Sample(Batch(_array(x), _array(y)), loss) for x, y, loss in earlier)
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError) as error:
        raise StateError(
            f"the state is damaged: a task's buffered examples cannot be read ({error}); {RESTORE}"
        ) from error


def _plain(array: Array) -> list[Any]:
    return [array.dtype.str, list(array.shape), array.tobytes()]


def _array(plain: list[Any]) -> Array:
    dtype, shape, data = plain
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape)
