"""The values that flow: a record as Kafka gave it, and the task event that was read from it.

All are frozen; arrays inside them are never written to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from numpy.typing import NDArray

Array = NDArray[Any]
T = TypeVar("T")

Part = Literal["x", "y"]
"""Inputs or labels."""

Positions = Mapping[int, int]
"""Partition -> the next offset to be learned from."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a record is passed by, whatever its bytes: it is set aside as a dead letter under `reason`.

    Attributes:
        reason: Of the closed list (`errors.Reason`).
        message: In words.
        end: The offset after the last one that is passed with it.
        stage: "read": its content could not be had; "decode", "step": that is where it cannot be used.
        damaged: The log is not what was written.
    """

    reason: str
    message: str
    end: int
    stage: Literal["read", "decode", "step"] = "read"
    damaged: bool = False


class Record(NamedTuple):
    """One Kafka record, bytes untouched. `timestamp_ms` is Kafka's, in milliseconds since 1970; -1: unknown.

    A tuple, because hundreds of thousands are made a second: a frozen dataclass takes three times as long.
    With a `flaw` it is not learned from; where that is of stage "read" it has no value and no headers.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    flaw: Flaw | None = None


Service = Literal["served", "throttled", "away", "refused"]
"""How the broker serves us: as it should; slowed by a quota; not at all; not with this login."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of the broker and of the topic's partitions.

    Attributes:
        service: How the broker serves us.
        cause: Why it does not, in words; "" while it does.
        blocked: Partition -> Unix time since when all that is unread of it waits behind an open transaction.
        leaderless: Partitions whose leader does not answer although others do.
        readable: Records could be read now that were not read yet.
        lag_seconds: Timestamp of the newest record less that of the last one applied, at the partition where
            that is most; None where it is not known.
        eta_seconds: Until nothing is behind, at the speed of the last half minute; None unless lag falls.
    """

    service: Service = "served"
    cause: str = ""
    blocked: Mapping[int, float] = field(default_factory=dict)
    leaderless: frozenset[int] = frozenset()
    readable: bool = False
    lag_seconds: float | None = None
    eta_seconds: float | None = None

    @property
    def serving(self) -> bool:
        """Whether records come, if slowly."""
        return self.service in ("served", "throttled")


class Run(NamedTuple):
    """Records of one partition applied without interruption: offsets `first` up to, not with, `end`."""

    partition: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """An iteration was closed here although nothing in its records says so: by the clock, or at the end."""


@dataclass(frozen=True, slots=True)
class Switch:
    """From here on a step is computed by another executor, whose bits may differ in the last digits.

    Attributes:
        compiled: The name of the compiled step that takes over for the shapes that it was compiled for, 32
            hexadecimal digits; empty: from here on all shapes are computed by the traced step again.
    """

    compiled: str = ""

    @property
    def executor(self) -> str:
        """The executor that takes over, as people and recordings name it."""
        return f"compiled:{self.compiled}" if self.compiled else "traced"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a compiled step was made for, and what with.

    Attributes:
        shapes: Dtypes and shapes of the iterations that it computes.
        form, compiler, torch: How it was compiled, and by which versions.
        processor: Which one it was compiled for, in short.
        threads: `model.threads`.
    """

    shapes: str
    form: str
    compiler: str
    torch: str
    processor: str
    threads: int

    def unlike(self, here: "Conditions") -> list[str]:
        """In what the two differ beside the shapes, in words; `here` is what is compiled with now."""
        pairs = [
            ("torch", self.torch, here.torch),
            ("the processor", self.processor, here.processor),
            ("model.threads", str(self.threads), str(here.threads)),
        ]
        return [f"{what} was {then}, here {now}" for what, then, now in pairs if then != now]


@dataclass(frozen=True, slots=True)
class Passed:
    """This record is not learned from: what came of trying it cannot be told from its bytes.

    Attributes:
        stage: Where it was tried.
        died: Two processes died of it; else the memory did not suffice.
    """

    partition: int
    offset: int
    stage: Literal["decode", "step"]
    died: bool

    @property
    def flaw(self) -> Flaw:
        """The same, as it goes along with the record."""
        verb = "reading" if self.stage == "decode" else "learning from"
        if self.died:
            why = f"two processes died while {verb} it: out of memory, or a crash in native code"
            return Flaw("bad_tensor", why, self.offset + 1, self.stage)
        why = f"{verb} it took more memory than there is"
        return Flaw("too_large", why, self.offset + 1, self.stage)


OrderEntry = Passed | Run | Cut | Switch
"""What the order log holds."""


class Batch(NamedTuple, Generic[T]):
    """Labelled examples; the first axis of `x` and `y` counts them."""

    x: T
    y: T


class Episode(NamedTuple, Generic[T]):
    """What one event brings of a task: the set to adapt on and the set to be judged on."""

    support: Batch[T]
    query: Batch[T]


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One decoded event.

    Attributes:
        task: The task id, the record's key.
        episode: NumPy arrays in the dtype in which they came.
        time_ms: Event time in milliseconds since 1970: header `ce_time`, else the record's timestamp.
    """

    task: str
    episode: Episode[Array]
    time_ms: int


@dataclass(frozen=True, slots=True)
class Examples:
    """One decoded record of labelled examples: the task id, NumPy arrays as they came, and its event time."""

    task: str
    examples: Batch[Array]
    time_ms: int


@dataclass(frozen=True, slots=True)
class HalfExamples:
    """One decoded record of inputs without labels, or of labels alone; `id` joins the two, sent as `name`."""

    task: str
    id: str
    part: Part
    array: Array
    time_ms: int
    name: str | int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A record that asks for a prediction and brings nothing to learn from.

    Attributes:
        task: The task id.
        x: Inputs as they came.
        support: Labelled examples to adapt on; None where the task's own serve.
        name: The record's own id as it was sent; None where it has none.
    """

    task: str
    x: Array
    support: Batch[Array] | None = None
    name: str | int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A record that asks to learn from a task again that is held back (`state.quarantine`)."""

    task: str


@dataclass(frozen=True, slots=True)
class Reset:
    """A record that asks to begin the task's memory anew: its next visit counts as a first one."""

    task: str


@dataclass(frozen=True, slots=True)
class Forget:
    """A tombstone: a record without a value, which asks to forget all that is kept of the task."""

    task: str


Change = Release | Reset | Forget
"""A record that changes what is kept of its task, and teaches nothing."""


def episode_of(support_x: Array, support_y: Array, query_x: Array, query_y: Array) -> Episode[Array]:
    """An episode from its four arrays.

    >>> import numpy as np
    >>> one = np.ones((3, 2), np.float32)
    >>> episode_of(one, one, one[:1], one[:1]).query.x.shape
    (1, 2)
    """
    return Episode(Batch(support_x, support_y), Batch(query_x, query_y))
