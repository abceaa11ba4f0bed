"""A learner's parts put together: the daemon's loop, its intake handed the events, over a store in memory."""

import sys
import weakref
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from typing import Final

from torch import nn

from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.config.show import document
from streammeta.errors import BadEvent, Reason
from streammeta.events import Change, Examples, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.library.arrays import Set, Values, episode_of_sets, examples_of
from streammeta.library.handing import Content, Hand, NoOrderLog, Told
from streammeta.library.lesson import Lesson, newest_lesson
from streammeta.observe.history import History
from streammeta.observe.history_file import pack as pack_history
from streammeta.observe.history_file import unpack as unpack_history
from streammeta.observe.machine import machine
from streammeta.outcomes import LearnedRow
from streammeta.runtime.assembly import assemble
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.runtime.commit import at_once
from streammeta.runtime.compiling import compiled_steps
from streammeta.serving.asking import Answer, Ask
from streammeta.serving.live import LiveState
from streammeta.serving.predictor import Predictor
from streammeta.state.memory_store import MemoryStore
from streammeta.state.rows import MAX_TASK_ID_BYTES, task_key
from streammeta.stream.generated import GeneratedSource, NoDeadLetters

MOST_UNTOLD_SECONDS: Final = 1.0
"""How long events that were learned one by one may wait to be folded together, while more come."""


class Moments:
    """The time of what is told: when the last event was learned, where it is told later."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.learned_seconds: float | None = None

    def __call__(self) -> float:
        """Unix time in seconds."""
        return self._clock.now() if self.learned_seconds is None else self.learned_seconds


class Session:
    """From a state, or the first one, on.

    Events that are handed over one by one are learned at once, and folded into statistics and curves
    together: when a chunk of them is full, or anything is asked that needs those.

    Attributes:
        config: The configuration.
    """

    def __init__(self, config: Config, store: MemoryStore, build: Callable[..., nn.Module] | None) -> None:
        """`build`: what builds the model, where the configuration only names it.

        Raises:
            ConfigError: the model cannot be built or used, or compiled steps are required and cannot be.
            StateError: the store's state does not fit.
        """
        self._clock, self._store = Clock(), store
        self._moments, self._settled_seconds = Moments(self._clock), 0.0
        # All tasks stay in memory: no commit has to make room.
        held = config.state.model_copy(update={"cache_tasks": sys.maxsize})
        self.config = config.model_copy(update={"state": held})
        blueprint = build_blueprint(config, build=build)
        begun = restore(blueprint, store)
        compiled = compiled_steps(config)
        if compiled is not None:
            weakref.finalize(self, compiled.close)
        self._history, self._told = self._resumed(store), Told()
        self._loop = assemble(
            self.config,
            blueprint,
            begun,
            source=GeneratedSource(lambda _: iter(()), per_second=1.0),
            dead_letters=NoDeadLetters(),
            store=store,
            order_log=NoOrderLog(),
            observers=(self._history, self._told),
            clock=self._clock,
            history=lambda: pack_history(self._history, {"settings": document(config), "machine": machine()}),
            aside=at_once,
            compiled=compiled,
        )
        self._hand = Hand(self._loop.intake)
        self._engine = self._loop.intake.engine
        if self._engine.executors.lost():
            self._engine.executors.switch("")
        self._predictor = Predictor(
            blueprint.network,
            blueprint.learner,
            support=config.events.support,
            max_examples=config.events.max_examples,
        )

    @property
    def engine(self) -> Engine:
        """The daemon's, between two chunks."""
        self._settle()
        return self._engine

    @property
    def events(self) -> int:
        """Events learned in the life of the state."""
        return self._engine.learned

    @property
    def history(self) -> History:
        """The curves, of all events learned."""
        self._settle()
        return self._history

    def lesson(self, read: Callable[[], TaskEvent]) -> Lesson:
        """Learn from one event.

        Raises:
            BadEvent: it cannot be used; nothing is learned from it.
        """
        self._told.begin()
        with redirect_stdout(sys.stderr):
            self._give(0, read)
            result = self._hand.learn()
        if isinstance(result, BadEvent):
            raise result
        lesson, now_seconds = newest_lesson(self._engine), self._clock.now()
        self._moments.learned_seconds = now_seconds
        if not 0 <= now_seconds - self._settled_seconds < MOST_UNTOLD_SECONDS:
            self._settle()
        return lesson

    def learned(self, read: Callable[[], Content]) -> list[LearnedRow]:
        """Learn from what one event's examples complete.

        Raises:
            BadEvent: it cannot be used; nothing is learned from it.
        """
        rows: list[LearnedRow] = []
        self._take_alone(read, rows.append)
        for refusal in self._told.refused.values():
            raise refusal
        return rows

    def learned_all(
        self, reads: Iterable[Callable[[], Content]], each: Callable[[LearnedRow], None] | None
    ) -> tuple[int, dict[int, BadEvent]]:
        """Learn from many, in their order; how many, and the refusals by their place."""
        before = self.engine.progress.events
        self._told.begin(each)
        for number, read in enumerate(reads):
            self._take(number, read)
        self._settle()
        return self._engine.progress.events - before, self._told.refused

    def event(self, task: str, support: Set, query: Set, time_ms: int | None = None) -> TaskEvent:
        """An episode of the task.

        Raises:
            BadEvent: as the codec refuses it.
        """
        _check_task(task)
        return TaskEvent(
            task, episode_of_sets(support, query, self.config.events.max_examples), self._time_ms(time_ms)
        )

    def examples(self, task: str, x: Values, y: Values, time_ms: int | None = None) -> Examples:
        """Labelled examples of the task.

        Raises:
            BadEvent: as the codec refuses them.
        """
        _check_task(task)
        return Examples(task, examples_of(x, y, self.config.events.max_examples), self._time_ms(time_ms))

    def change(self, change: type[Change], task: str) -> bool:
        """Change what is kept of the task; whether there was something to change.

        Raises:
            BadEvent: no task can be called so.
        """
        _check_task(task)
        self._take_alone(lambda: change(task))
        return self._told.changed

    def predict(self, ask: Ask) -> Answer:
        """The answer of the state as it stands.

        Raises:
            NoAnswer: it cannot be had.
        """
        (answer,) = self._predictor.predict(LiveState(self._engine), [ask])
        return answer

    def commit(self) -> MemoryStore:
        """The store, with all that was learned in it."""
        self._settle()
        self._loop.commits.now()
        return self._store

    def _take_alone(
        self, read: Callable[[], Content], each: Callable[[LearnedRow], object] | None = None
    ) -> None:
        """Apart from the events before it: what is told is of this call."""
        self._settle()
        self._told.begin(each)
        self._take(0, read)
        self._settle()

    def _take(self, number: int, read: Callable[[], Content]) -> None:
        with redirect_stdout(sys.stderr):  # what a model prints is no data
            self._give(number, read)

    def _give(self, number: int, read: Callable[[], Content]) -> None:
        executors = self._engine.executors
        for name in executors.look():
            executors.switch(name)
        content: Content | BadEvent
        try:
            content = read()
        except BadEvent as refusal:  # counted with the others, as the daemon does
            content = refusal
        self._hand.give(number, content)

    def _settle(self) -> None:
        with redirect_stdout(sys.stderr):
            self._hand.settle()
        self._settled_seconds, self._moments.learned_seconds = self._clock.now(), None

    def _time_ms(self, given: int | None) -> int:
        return int(self._clock.now() * 1000) if given is None else given

    def _resumed(self, store: MemoryStore) -> History:
        history, meta = History(self._moments), store.load()
        if meta is not None and meta.history:
            try:
                kept = unpack_history(meta.history)
                history.resume(kept.events, kept.time, kept.marks)
            except ValueError:  # curves alone: they begin anew
                return History(self._moments)
        return history


def _check_task(task: str) -> None:
    if not isinstance(task, str) or task_key(task) is None:
        raise BadEvent(
            Reason.BAD_TASK_ID, f"task {task!r}: give text of 1 to {MAX_TASK_ID_BYTES} bytes in UTF-8"
        )
