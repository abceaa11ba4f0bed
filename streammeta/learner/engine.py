"""Where algorithm, memories and data meet: events are placed in a chunk, learned in turn, folded together.

Invariant: an iteration changes the meta-state and the arriving tasks' rows, all or none, and nothing else;
statistics follow when the chunk is folded. No I/O of its own, no clock, no logging: the memories it asks may
read the store.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.algorithms.discarded import why_discarded
from streammeta.errors import BadEvent, CodeFault, ConfigError, Reason
from streammeta.evaluation.forgetting import Recalled, Samples
from streammeta.evaluation.prequential import Prequential
from streammeta.events import Array, Batch, TaskEvent
from streammeta.learner.chunk import Chunk, Group, Placed
from streammeta.learner.chunk_step import Singles, Tables, copied, step_traced
from streammeta.learner.executors.chunk import NUMBERS
from streammeta.learner.executors.serving import Executors
from streammeta.learner.folding import Numbers, Visits, fold_stream, visited
from streammeta.learner.graphs import refuse_machine_fault
from streammeta.learner.recalling import Recaller
from streammeta.learner.tracing import Steps, state_tensors
from streammeta.models.faults import told
from streammeta.models.network import Network
from streammeta.state.buffers import Buffer
from streammeta.state.memories import Memories
from streammeta.state.quarantine import Held, Quarantine


class Progress(NamedTuple):
    """How far the stream was learned: part of the state.

    Attributes:
        events: Events learned.
        prequential: Fading means over them.
    """

    events: int = 0
    prequential: Prequential = Prequential()


class Folded(NamedTuple):
    """What a chunk did, an element or a row an event, in the order in which they were learned.

    Attributes:
        events: What was learned from.
        progress: How far the stream was learned, the chunk included.
        numbers: `NUMBERS` of each, (events, 7).
        meta_rates: The rate of each one's meta-update.
        judged: Losses, tracking error, accuracies and recalled losses, columns as `folding.Means`.
        means: The same, as the fading means over the stream then.
        visits: What it did to their tasks.
        predictions: Of their query sets before they were learned from, (3, examples, …): at w, after one
            adaptation, at the task's memory; none unless asked for.
    """

    events: Sequence[TaskEvent]
    progress: Progress
    numbers: Numbers
    meta_rates: Numbers
    judged: Numbers
    means: Numbers
    visits: Visits
    predictions: Sequence[Tensor]

    def column(self, name: str) -> Numbers:
        """One of `NUMBERS`."""
        return self.numbers[:, NUMBERS.index(name)]


class Mark(NamedTuple):
    """Where the engine stood before it learned from one task."""

    state: State
    learned: int
    placed: Placed
    memory: Tensor
    visits: int
    samples: Samples


class Engine:
    """The learner at work.

    Attributes:
        network: Model and loss.
        progress: How far it came, up to the last fold.
        memories: The tasks.
        inner_lr, meta_lr: The rates that are set.
        executors: Who computes which shapes.
        quarantine: The tasks that are held back; whoever asks to learn from them sees to it.
    """

    def __init__(
        self,
        network: Network,
        steps: Steps,
        state: State,
        progress: Progress,
        memories: Memories,
        *,
        forgetting_sets: int = 0,
        executors: Executors | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        """`forgetting_sets`: earlier query sets kept per task, one judged again at each visit; 0: none.

        `executors`: None where the traced step computes everything.
        """
        self.network = network
        self.progress = progress
        self.memories = memories
        self.inner_lr, self.meta_lr = state.inner_lr.item(), state.meta_lr.item()
        self._steps = steps
        self._state = copied(state)
        self._chunk = Chunk(network)
        self.executors = executors or Executors(steps)
        self.quarantine = quarantine or Quarantine()
        self._tables: dict[int, Tables] = {}
        self._singles = Singles(network.device)
        self._learned: list[tuple[Placed, Recalled, float]] = []
        self._recaller = Recaller(network, steps, memories, forgetting_sets) if forgetting_sets else None

    @property
    def state(self) -> State:
        """Where the learner stands; a copy."""
        return copied(self._state)

    @property
    def chunk_bytes(self) -> int:
        """What the placed events take."""
        return self._chunk.bytes

    @property
    def params_of(self) -> Callable[[Tensor], Tensor]:
        """A task's own parameters in its memory, as the learner stands; its memory where it keeps none."""
        params_of, state = self._steps.task_params, self.state
        return (lambda memory: params_of(state, memory)) if params_of else (lambda memory: memory)

    def check(self, examples: Batch[Array], counts: Sequence[int]) -> None:
        """Refuse examples, in the model's numbers, of which sets of `counts` could not be learned from.

        Raises:
            BadEvent: their shapes do not suit the model, or it has no such class.
        """
        with self._judged():
            self._steps.check(self._state, examples, counts)

    def place(self, event: TaskEvent) -> Placed:
        """Add the event to the chunk; it is refused, if it must be, when it is learned."""
        return self._chunk.place(event)

    def load(self, tasks: Collection[str]) -> None:
        """Have the rows of these tasks at hand, those of all placed events among them."""
        self._chunk.check()
        slots = self.memories.slots(tasks)
        device = self.network.device
        for group in self._chunk.groups():
            for placed in group.placed:
                placed.slot = slots[placed.event.task]
            self._tables[id(group)] = Tables(
                group,
                self._state,
                self.memories.rows,
                self.memories.visits,
                group.slots().to(device),
                group.episodes(device),
            )

    def learn(self, iteration: Sequence[Placed]) -> None:
        """One iteration over loaded events of different tasks, all of the same shape.

        Raises:
            BadEvent: an event cannot be used, or the update would not be finite: nothing has changed.
        """
        group = iteration[0].group
        places = [placed.place for placed in iteration]
        _refuse(group, places)
        tables, index = self._tables[id(group)], self._singles.at(places)
        recaller = self._recaller
        recalled = [recaller.judge(self._state, tables, one) for one in iteration] if recaller else None
        rate = self._steps.meta_rate(self._state)
        try:
            with self._judged():
                self._step(tables, places, index)
        except (AssertionError, ArithmeticError, LookupError, ValueError, RuntimeError) as error:
            refuse_machine_fault(error)
            message = f"the model refuses the data: {told(error)}"
            raise BadEvent(Reason.BAD_TENSOR, message, stage="step") from error
        if not group.numbers[places[0], _FINITE].item():
            if len(iteration) == 1:
                self._hold_back(iteration[0], tables.inputs(index))
            meta, adapted = (NUMBERS.index(name) for name in ("loss_meta", "loss_adapted"))
            numbers = group.numbers[places].cpu()
            why = why_discarded(numbers[:, meta], numbers[:, adapted])
            raise BadEvent(Reason.NON_FINITE_UPDATE, why, stage="step")
        if recaller is None or recalled is None:
            self._learned += ((placed, _NOT_RECALLED, rate) for placed in iteration)
        else:
            self._learned += zip(iteration, recalled, [rate] * len(iteration), strict=True)
            for placed in iteration:
                recaller.keep(self._state, tables, placed)

    def _step(self, tables: Tables, places: Sequence[int], index: Tensor) -> None:
        """One iteration by whoever serves its shapes."""
        shape = tables.shapes.get(len(places))
        if shape is None:
            shape = tables.shapes[len(places)] = self.executors.of(self._state, tables.inputs(index))
        if shape.serving is None:
            if shape.candidate is not None:
                self.executors.test(shape, self._state, tables.inputs(index))
            step_traced(self._steps, tables, index)
            return
        if shape.classes:
            tables.group.check_classes(shape.classes)
            _refuse(tables.group, places)
        if self._steps.predicts and tables.group.predictions is None and shape.step is not None:
            tables.flat.append(tables.group.predict(shape.step.update(*tables.inputs(index))[1]))
        shape.serving.run([*tables.flat, index])

    def _hold_back(self, placed: Placed, inputs: list[Tensor]) -> None:
        """Put the event's task in quarantine, if its memory outgrew the limit.

        Raises:
            BadEvent: it did.
        """
        norm, task = self._steps.outgrown(self._state, inputs), placed.event.task
        if norm:
            self.quarantine.add(task, Held(self.progress.events + len(self._learned) + 1, norm))
        refusal = self.quarantine.refusal(task)
        if refusal is not None:
            raise refusal

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """A fault of the code is the configuration's as long as no event was learned, else the record's."""
        try:
            yield
        except CodeFault as fault:
            if self.progress.events or self._learned:
                raise
            raise ConfigError(f"model.factory, model.loss: {fault}") from fault.__cause__

    def refusal(self, placed: Placed) -> BadEvent | None:
        """Why the event would be refused alone; None when it would not. Changes nothing."""
        mark = self.mark(placed)
        try:
            self.learn([placed])
        except BadEvent as refusal:
            return refusal
        self.back(mark)
        return None

    def hold(self, task: str, buffer: Buffer) -> None:
        """Let the task, which is loaded, keep these examples for its next episode."""
        self.memories.hold(task, buffer)

    def mark(self, placed: Placed) -> Mark:
        """Where the engine stands, for `back`, as long as only this event's task is learned from."""
        slot, memories = placed.slot, self.memories
        return Mark(
            copied(self._state),
            len(self._learned),
            placed,
            memories.rows[slot].clone(),
            int(memories.visits[slot]),
            memories.samples.get(slot, ()),
        )

    def back(self, mark: Mark) -> None:
        """Undo what was learned since the mark."""
        for now, before in zip(state_tensors(self._state), state_tensors(mark.state), strict=True):
            now.copy_(before)
        slot = mark.placed.slot
        self.memories.rows[slot] = mark.memory
        self.memories.visits[slot] = mark.visits
        self.memories.samples.pop(slot, None)
        if mark.samples:
            self.memories.samples[slot] = mark.samples
        del self._learned[mark.learned :]

    def fold(self, tasks: Collection[str]) -> Folded | None:
        """End the chunk that was loaded with these tasks: fold what was learned; None when nothing was."""
        folded = self._folded() if self._learned else None
        for placed, *_ in self._learned:
            self.memories.touch(placed.event.task)
        self._learned = []
        self._tables.clear()
        self._chunk.clear()
        self.memories.settle(tasks)
        return folded

    def _folded(self) -> Folded:
        learned = [placed for placed, *_ in self._learned]
        numbers, accuracies, predictions = self._numbers(learned)
        recalled = np.array([recalled for _, recalled, _ in self._learned])
        judged = np.concatenate([numbers[:, _JUDGED], accuracies, recalled], axis=1)
        before = self.progress
        prequential, means = fold_stream(before.prequential, judged)
        visits = visited(
            self.memories.stats,
            [placed.slot for placed in learned],
            [placed.event.time_ms for placed in learned],
            judged,
            before.events + 1,
        )
        self.progress = Progress(before.events + len(learned), prequential)
        return Folded(
            [placed.event for placed in learned],
            self.progress,
            numbers,
            np.array([rate for *_, rate in self._learned]),
            judged,
            means,
            visits,
            predictions,
        )

    def _numbers(self, learned: Sequence[Placed]) -> tuple[Numbers, Numbers, list[Tensor]]:
        """`NUMBERS`, accuracies and predictions of each event, from the columns of its group."""
        numbers = np.empty((len(learned), len(NUMBERS)))
        accuracies = np.full((len(learned), 3), np.nan)
        predicted: dict[int, Tensor] = {}
        by_group: dict[int, tuple[Group, list[int], list[int]]] = {}
        for number, placed in enumerate(learned):
            _, at, places = by_group.setdefault(id(placed.group), (placed.group, [], []))
            at.append(number)
            places.append(placed.place)
        for group, at, places in by_group.values():
            numbers[at] = group.numbers[places].cpu().numpy()
            if group.predictions is not None:
                predicted.update(zip(at, group.predictions[places], strict=True))
            if self.network.takes_classes:
                accuracies[at] = group.accuracies(places)
        return numbers, accuracies, [predicted[at] for at in sorted(predicted)]

    def set_rates(self, inner_lr: float, meta_lr: float) -> None:
        """Use these learning rates from the next event on."""
        self.inner_lr, self.meta_lr = inner_lr, meta_lr
        self._state.inner_lr.fill_(inner_lr)
        self._state.meta_lr.fill_(meta_lr)


def _refuse(group: Group, places: Sequence[int]) -> None:
    if group.refused:
        for place in places:
            if place in group.refused:
                raise group.refused[place]


_NOT_RECALLED = Recalled()
_FINITE = NUMBERS.index("finite")
_JUDGED = [NUMBERS.index(name) for name in ("loss_meta", "loss_adapted", "loss_memory", "tracking_error")]
