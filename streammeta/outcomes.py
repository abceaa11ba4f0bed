"""What the loop tells observers: one value per thing that happened, folded by each observer as it likes.

Observers never change what is learned. After a crash an outcome may be told again (at least once).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from streammeta.errors import Reason
from streammeta.evaluation.prequential import Prequential
from streammeta.events import Condition


@dataclass(frozen=True, slots=True)
class Learned:
    """One event was learned from.

    Attributes:
        topic, partition, task: Where it came from.
        events: Events learned so far in the life of the state, this one included.
        task_events: The same of this task alone; 1 at its first visit.
        loss_meta, loss_adapted, loss_memory: Query loss before the event is learned from: at w, after one
            inner adaptation, at the task's memory (NaN at a first visit and for learners without memory).
        task_loss: Fading mean of the task's loss: at its memory where it has one, else adapted.
        prequential: Fading means over the stream, this event included.
        gradient_norm, update_norm, tracking_error: ‖v‖, ‖w' − w‖, ‖u_i − (w − α∇l(w;S))‖ after the event.
        staleness_events: Events learned since the task was last seen; None at its first visit.
        inner_lr, meta_lr: The rates in force.
        age_seconds: Now − event time.
        decode_seconds, load_seconds, step_seconds, store_seconds: Where the time went.
        predictions: Of the query set before the event was learned from (3, examples, …): at w, after one
            adaptation, at the task's memory; None unless they were asked for.
    """

    topic: str
    partition: int
    task: str
    events: int
    task_events: int
    loss_meta: float
    loss_adapted: float
    loss_memory: float
    task_loss: float
    prequential: Prequential
    gradient_norm: float
    update_norm: float
    tracking_error: float
    staleness_events: int | None
    inner_lr: float
    meta_lr: float
    age_seconds: float
    decode_seconds: float
    load_seconds: float
    step_seconds: float
    store_seconds: float
    predictions: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A record went to the dead-letter topic."""

    topic: str
    partition: int
    offset: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A record that the state already contains was delivered again and passed over."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record's examples wait in its task's buffer: they make no episode yet."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Expired:
    """Examples were dropped.

    Attributes:
        tasks: Tasks whose examples waited too long for an episode.
        halves: Inputs whose labels, or labels whose inputs, did not come in time.
    """

    topic: str
    tasks: int
    halves: int


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A commit ended at Unix time `timestamp_seconds`; when it failed (`ok` is False) the program ends."""

    ok: bool
    seconds: float
    bytes: int
    timestamp_seconds: float
    tasks_cached: int
    tasks_stored: int


@dataclass(frozen=True, slots=True)
class Turned:
    """The loop turned: state of the source, told after every poll, also an empty one.

    Attributes:
        connected: The broker serves us.
        restoring: Events before the crash are being applied again.
        lag: Partition -> records between what was applied and the end; empty while the broker does not serve,
            else its keys are the assigned partitions whose end is known.
        replayed: Share applied of what is applied again, after a crash or from a recording; 1 when there is
            nothing left of it.
        condition: What else is known of the broker and the topic.
        due: Something could move and did not yet: a record that can be read, a letter that a broker which
            serves has not acknowledged.
    """

    topic: str
    connected: bool
    restoring: bool
    lag: Mapping[int, int]
    replayed: float = 1.0
    condition: Condition = field(default_factory=Condition)
    due: bool = False


Outcome = Learned | Refused | Duplicate | Skipped | Expired | Checkpointed | Turned
Observer = Callable[[Outcome], None]
