"""Where algorithm, memories and data meet: events are placed in a chunk, learned in turn, folded together.

Invariant: an iteration changes the meta-state and the arriving tasks' rows, all or none, and nothing else;
statistics follow when the chunk is folded. No I/O of its own, no clock, no logging: the memories it asks may
read the store.
"""

from collections.abc import Callable, Collection, Sequence

from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.errors import BadEvent, CodeFault, ConfigError, Reason, StreammetaError
from streammeta.evaluation.drift import Settings
from streammeta.evaluation.prequential import NOT_RECALLED
from streammeta.events import Array, Batch, Change, Forget, Reset, TaskEvent
from streammeta.learner.chunk import MAX_GROUPS, Chunk, Placed
from streammeta.learner.chunk_step import Singles, Tables, copied, step_traced
from streammeta.learner.discarding import discarded
from streammeta.learner.drifting import Drifting
from streammeta.learner.executors.serving import Executors
from streammeta.learner.folded import Applied, Folded, fold
from streammeta.learner.graphs import refuse_machine_fault
from streammeta.learner.mark import Mark, back, mark, put
from streammeta.learner.recalling import Recaller
from streammeta.learner.tracing import Steps
from streammeta.models.faults import told
from streammeta.models.network import Network
from streammeta.state.buffers import Buffer
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from streammeta.state.quarantine import Held, Quarantine


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
        drift: Settings | None = None,
    ) -> None:
        """`forgetting_sets`: earlier query sets kept per task, one judged again at each visit; 0: none.

        `executors`: None where the traced step computes everything. `drift`: how it is looked for; None: not.
        """
        self.network = network
        self.progress = progress
        self.memories = memories
        self.inner_lr, self.meta_lr = state.inner_lr.item(), state.meta_lr.item()
        self._steps = steps
        self._state = copied(state)
        self._rate = steps.meta_rate(state)
        self._chunk = Chunk(network)
        self.executors = executors or Executors(steps)
        self.quarantine = quarantine or Quarantine()
        self._slots: dict[str, int] = {}
        self._tables: dict[int, Tables] = {}
        self._singles = Singles(network.device)
        self._learned: list[Applied] = []
        self._recaller = Recaller(network, steps, memories, forgetting_sets) if forgetting_sets else None
        self._drifting = Drifting(drift, memories, at_memory=self.keeps_params) if drift else None

    @property
    def state(self) -> State:
        """Where the learner stands; a copy."""
        return copied(self._state)

    @property
    def standing(self) -> State:
        """The same as it is: until the next event is learned."""
        return self._state

    @property
    def learned(self) -> int:
        """Events learned, those of the chunk in hand among them."""
        return self.progress.events + len(self._learned)

    @property
    def newest(self) -> Applied:
        """The event of the chunk in hand that was learned last."""
        return self._learned[-1]

    def known(self, task: str) -> tuple[int, Tensor] | None:
        """Events learned from a task that is loaded, and its memory as it is; None where it is not loaded.

        The memory has shape (0,) while it holds no visit.
        """
        memories, slot = self.memories, self.memories.slot_of(task)
        if slot is None:
            return None
        visits = int(memories.visits[slot])
        return int(memories.stats.reset_after[slot]) + visits, memories.rows[slot][: None if visits else 0]

    @property
    def chunk_bytes(self) -> int:
        """What the placed events take."""
        return self._chunk.bytes

    @property
    def params_of(self) -> Callable[[Tensor], Tensor]:
        """A task's own parameters in its memory, as the learner stands; its memory where it keeps none."""
        params_of, state = self._steps.task_params, self.state
        return (lambda memory: params_of(state, memory)) if params_of else (lambda memory: memory)

    @property
    def keeps_params(self) -> bool:
        """Whether a task's memory means parameters of its own."""
        return self._steps.task_params is not None

    def check(self, examples: Batch[Array], counts: Sequence[int]) -> None:
        """Refuse examples, in the model's numbers, of which sets of `counts` could not be learned from.

        Raises:
            BadEvent: their shapes do not suit the model, or it has no such class.
        """
        try:
            self._steps.check(self._state, examples, counts)
        except CodeFault as fault:
            raise self._judged(fault) from fault.__cause__

    def place(self, event: TaskEvent) -> Placed:
        """Add the event to the chunk; it is refused, if it must be, when it is learned."""
        return self._chunk.place(event)

    def load(self, tasks: Collection[str]) -> None:
        """Have the rows of these tasks at hand; with those loaded before, of all placed events."""
        self._chunk.check()
        memories = self.memories
        self._slots.update(memories.slots(tasks, self._slots))
        for group in self._chunk.groups():
            group.find(self._slots)
            tables = self._tables.get(id(group))
            if tables is None or not tables.hold(memories.rows):
                shapes = tables.shapes if tables else {}
                self._tables[id(group)] = Tables(group, self._state, memories.rows, memories.visits, shapes)

    def learn(self, iteration: Sequence[Placed]) -> None:
        """One iteration over loaded events of different tasks, all of the same shape.

        Raises:
            BadEvent: an event cannot be used, or the update would not be finite: nothing has changed.
        """
        group = iteration[0].group
        places = [placed.place for placed in iteration]
        if group.refused:
            group.refuse(places)
        tables, index = self._tables[id(group)], self._singles.at(places)
        recaller = self._recaller
        recalled = [recaller.judge(self._state, tables, one) for one in iteration] if recaller else None
        rate = self._steps.meta_rate(self._state) if self._steps.scheduled else self._rate
        try:
            self._step(tables, places, index)
        except CodeFault as fault:
            raise self._judged(fault) from fault.__cause__
        except _FAILURES as error:
            refuse_machine_fault(error)
            message = f"the model refuses the data: {told(error)}"
            raise BadEvent(Reason.BAD_TENSOR, message, stage="step") from error
        if not group.finite(places[0]):
            if len(iteration) == 1:
                self._hold_back(iteration[0], tables.inputs(index))
            raise discarded(group, places)
        if recaller is not None:
            for placed in iteration:
                recaller.keep(self._state, tables, placed)
        drifting, recollections = self._drifting, recalled or [NOT_RECALLED] * len(iteration)
        for placed, recollection in zip(iteration, recollections, strict=True):
            drift = None if drifting is None else drifting.visited(placed, self.learned + 1)
            self._learned.append(Applied(placed, recollection, rate, drift))

    def _step(self, tables: Tables, places: Sequence[int], index: Tensor) -> None:
        """One iteration by whoever serves its shapes."""
        shape = tables.shapes.get(len(places))
        if shape is None:
            shape = tables.shapes[len(places)] = self.executors.of(self._state, tables.inputs(index))
        if shape.candidate is not None:
            self.executors.test(shape, self._state, tables.inputs(index))
        if shape.serving is None:
            step_traced(self._steps, tables, index)
            return
        if shape.classes:
            tables.group.check_classes(shape.classes)
            tables.group.refuse(places)
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

    def _judged(self, fault: CodeFault) -> StreammetaError:
        """A fault of the code is the configuration's as long as no event was learned, else the record's."""
        if self.progress.events or self._learned:
            return fault
        return ConfigError(f"model.factory, model.loss: {fault}")

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

    def change(self, change: Change) -> bool:
        """Change what is kept of the task, which is loaded; whether there was something to change.

        No event of the chunk may be of this task: where the meta-model learned from it, that stays learned.
        """
        held = self.quarantine.release(change.task)
        match change:
            case Forget():
                return self.memories.forget(change.task) or held
            case Reset():
                return self.memories.reset(change.task) or held
        return held

    def mark(self, placed: Placed) -> Mark:
        """Where the engine stands, for `back`, as long as only this event's task is learned from."""
        return mark(self._state, len(self._learned), self.memories, placed.slot)

    def back(self, to: Mark) -> None:
        """Undo what was learned since the mark."""
        back(to, self._state, self.memories)
        del self._learned[to.learned :]

    def fold(self, tasks: Collection[str]) -> Folded | None:
        """End the chunk that was loaded with these tasks: fold what was learned; None when nothing was."""
        folded = None
        if self._learned:
            folded = fold(
                self._learned,
                self.progress,
                self.memories,
                classes=self.network.takes_classes,
                drifting=self._drifting,
            )
            self.progress = folded.progress
        for placed, *_ in self._learned:
            self.memories.touch(placed.event.task)
        self._learned = []
        self._slots.clear()
        self._chunk.clear()
        self._tables = {at: kept for at, kept in self._tables.items() if kept.hold(self.memories.rows)}
        if len(self._tables) > MAX_GROUPS:
            self._tables.clear()
        self.memories.settle(tasks)
        return folded

    def adopt(self, state: State) -> None:
        """Go on from this state, at the same rates; between two chunks."""
        put(self._state, state)

    def set_rates(self, inner_lr: float, meta_lr: float) -> None:
        """Use these learning rates from the next event on."""
        self.inner_lr, self.meta_lr = inner_lr, meta_lr
        self._state.inner_lr.fill_(inner_lr)
        self._state.meta_lr.fill_(meta_lr)
        self._rate = self._steps.meta_rate(self._state)


_FAILURES = (AssertionError, ArithmeticError, LookupError, MemoryError, ValueError, RuntimeError)
