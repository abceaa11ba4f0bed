"""What the loop tells observers: one value per thing that happened, folded by each observer as it likes.

Events learned are told as columns, a chunk at a time. How the stream was cut into chunks means nothing.

Observers never change what is learned. After a crash an outcome may be told again (at least once). Over 300
lines, because it is a list: a value a kind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streammeta.errors import Reason
from streammeta.evaluation.drift import Detection
from streammeta.evaluation.prequential import Prequential
from streammeta.events import Condition
from streammeta.learner.folding import Means, Numbers
from streammeta.state.quarantine import Held


class Stages(NamedTuple):
    """Where an event's time went, in seconds; the mean of its chunk."""

    decode: float
    load: float
    step: float
    store: float


@dataclass(frozen=True, slots=True)
class Learned:
    """Events were learned from, one after the other: columns with an element, or a row, an event.

    Attributes:
        topic, partitions, tasks: Where they came from.
        events: Events learned so far in the life of the state, the last one included.
        task_events: The same of each one's task alone; 1 at its first visit.
        losses: Query losses before the event is learned from: at w, after one inner adaptation, at the task's
            memory (NaN at a first visit and for learners without memory); shape (events, 3).
        task_losses: Fading means of the tasks' losses: at the memory where there is one, else adapted.
        means: Fading means over the stream, each event included; columns as `Means`.
        prequential: The same after the last event, as the state keeps them.
        gradient_norms, update_norms, tracking_errors: ‖v‖, ‖w' − w‖, ‖u_i − (w − α∇l(w;S))‖ after the event.
        staleness_events: Events learned since the task was last seen; NaN at its first visit.
        inner_lr, meta_lrs: The rates in force.
        ages_seconds: Now − event time.
        stages: Where the time of one event went.
        drifts: Tasks that got worse by these events, and the stream (task "").
        predictions: Of the query sets before they were learned from (3, examples, …): at w, after one
            adaptation, at the task's memory; none unless they were asked for.
    """

    topic: str
    partitions: Sequence[int]
    tasks: Sequence[str]
    events: int
    task_events: NDArray[np.int64]
    losses: Numbers
    task_losses: Numbers
    means: Numbers
    prequential: Prequential
    gradient_norms: Numbers
    update_norms: Numbers
    tracking_errors: Numbers
    staleness_events: Numbers
    inner_lr: float
    meta_lrs: Numbers
    ages_seconds: Numbers
    stages: Stages
    predictions: Sequence[Tensor] = ()
    drifts: Sequence[Detection] = ()

    def __len__(self) -> int:
        """How many events."""
        return len(self.tasks)

    @property
    def numbers(self) -> range:
        """The index of each among all events learned, counted from 1."""
        return range(self.events - len(self) + 1, self.events + 1)

    def rows(self) -> "Iterator[LearnedRow]":
        """The events one by one, for those who do not mind some 3 µs each."""
        predictions: Sequence[Tensor | None] = self.predictions or [None] * len(self)
        drifts = {one.event: one for one in self.drifts if one.task}
        columns = zip(
            self.partitions,
            self.tasks,
            self.numbers,
            self.task_events.tolist(),
            *self.losses.T.tolist(),
            self.task_losses.tolist(),
            map(Means._make, self.means.tolist()),
            self.gradient_norms.tolist(),
            self.update_norms.tolist(),
            self.tracking_errors.tolist(),
            self.staleness_events.tolist(),
            self.meta_lrs.tolist(),
            self.ages_seconds.tolist(),
            predictions,
            map(drifts.get, self.numbers),
            strict=True,
        )
        return map(LearnedRow._make, columns)


class LearnedRow(NamedTuple):
    """One event of `Learned`, by the names of its columns."""

    partition: int
    task: str
    events: int
    task_events: int
    loss_meta: float
    loss_adapted: float
    loss_memory: float
    task_loss: float
    means: Means
    gradient_norm: float
    update_norm: float
    tracking_error: float
    staleness_events: float
    meta_lr: float
    age_seconds: float
    predictions: Tensor | None = None
    drift: Detection | None = None


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
    """What the state already contains came again and was passed over.

    Attributes:
        sent_again: Another record brought the event, told by its `ce_id`; else the same record was delivered
            again.
    """

    topic: str
    partition: int
    offset: int
    sent_again: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record's examples wait in its task's buffer: they make no episode yet."""

    topic: str
    partition: int
    offset: int


TaskChange = Literal["forget", "reset", "release"]


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """A record changed what is kept of a task, and taught nothing.

    Attributes:
        task: The task.
        change: "forget": nothing is kept; "reset": its next visit is a first one; "release": from quarantine.
        known: There was something to change.
    """

    topic: str
    partition: int
    offset: int
    task: str
    change: TaskChange
    known: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A record without labels was answered, at these parameters: "meta", "memory" or "adapted"."""

    topic: str
    partition: int
    offset: int
    at: str


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
    """A commit ended at Unix time `timestamp_seconds`; when it failed (`ok` is False) the program ends.

    Attributes:
        quarantined: The tasks that are held back now.
    """

    ok: bool
    seconds: float
    bytes: int
    timestamp_seconds: float
    tasks_cached: int
    tasks_stored: int
    quarantined: Mapping[str, Held] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Executing:
    """Who computes the steps: told when that changes, and before the loop waits for a step.

    Attributes:
        compiled, traced, eager: Shapes of iterations computed by machine code, by a traced graph, and (beyond
            64 traces) one operation after the other.
        compiling: Steps that are being compiled, or wait for it.
        failures, seconds: Compilations that came to nothing, and what all took; of this process.
        making: The step that the loop waits for now, in words; "" when it waits for none.
    """

    compiled: int
    traced: int
    eager: int
    compiling: int
    failures: int
    seconds: float
    making: str = ""

    @property
    def compiling_now(self) -> bool:
        """Whether the loop waits for a compiler, which may be told to stop; a trace cannot."""
        return self.making.startswith("compiling")


@dataclass(frozen=True, slots=True)
class Awaiting:
    """This rank has closed a round and waits for others: told now and then, a sign of life.

    Attributes:
        round: Its number; 0 while the group comes together.
        ranks: Those that have not closed it yet.
    """

    round: int
    ranks: Sequence[int]


class RankView(NamedTuple):
    """What a rank told the others at the end of a round.

    Attributes:
        events: Learned in the life of its state.
        weight: Events learned in the round.
        lag: Records between it and the ends of its partitions; None while unknown.
        distance: How far its meta-parameters were from the mean at the end of the round before.
        ended: It has reached the end at which it was told to stop.
    """

    events: int
    weight: int
    lag: int | None
    distance: float
    ended: bool


@dataclass(frozen=True, slots=True)
class United:
    """A round has ended: the ranks go on from the mean of their meta-models.

    Attributes:
        round: Its number.
        rank: This one.
        weight: Its share in the mean, 0 to 1.
        distance: ‖w_r − mean‖ of its own meta-parameters before they became the mean.
        waited_seconds, seconds: For the other ranks, and for the exchange itself.
        bytes: What this rank handed to the exchange.
        ranks: What each told.
    """

    round: int
    rank: int
    weight: float
    distance: float
    waited_seconds: float
    seconds: float
    bytes: int
    ranks: Sequence[RankView]


@dataclass(frozen=True, slots=True)
class RatesChanged:
    """Other learning rates are in force from the next event on."""

    inner_lr: float
    meta_lr: float


Outcome = (
    Learned
    | Refused
    | Duplicate
    | Skipped
    | Answered
    | TaskChanged
    | Expired
    | Checkpointed
    | Turned
    | Executing
    | RatesChanged
    | Awaiting
    | United
)
Observer = Callable[[Outcome], None]
