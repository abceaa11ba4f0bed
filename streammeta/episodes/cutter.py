"""Episodes from single examples: gathered task by task, and cut as soon as there are enough.

An episode takes the `support + query` oldest examples of its task: the older ones are the support set, the
newer the query set, so the learner predicts what it has not seen. Then the `stride` oldest leave. As
`query <= stride <= support + query`, no example is ever in two query sets.

Invariant: what a record comes to follows from the state and the records taken before it, so a replay cuts the
same episodes. While an iteration waits, its records' buffers are held here and in no state.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Batch, Episode, Examples, HalfExamples, Question, TaskEvent
from streammeta.state.buffers import Buffer, Half, concatenated, section
from streammeta.state.memories import Memories
from streammeta.state.progress import NOTHING, Tally
from streammeta.wording import counted


class Sizes(NamedTuple):
    """Examples in an episode's two sets, and how many new ones make the next episode."""

    support: int
    query: int
    stride: int


class Bounds(NamedTuple):
    """How many records something may wait; 0: for ever (`tasks`), not at all (`halves`)."""

    tasks: int
    halves: int


class Asked(NamedTuple):
    """What a record asks, and the labelled examples that its task had gathered before it."""

    question: Question
    examples: Batch[Array] | None

    @property
    def task(self) -> str:
        """Whose prediction is asked for."""
        return self.question.task


class Portion(NamedTuple):
    """What one record of examples comes to.

    Attributes:
        task: Its task.
        events: The episodes that it completes, oldest first; none while its examples only wait.
        after: What the task holds then.
        refused: What it holds instead when an episode is refused: nothing of this record, and without the
            oldest examples, which would have left; else one that spoils every update would stay for ever.
        dropped: What expired when the record came.
        asked: The prediction that it asks for, where it brings inputs alone.
    """

    task: str
    events: tuple[TaskEvent, ...]
    after: Buffer
    refused: Buffer
    dropped: Tally
    asked: Asked | None = None


class Model(NamedTuple):
    """What the model asks of examples.

    Attributes:
        x, y: Cast inputs and labels to the model's numbers, or raise BadEvent.
        check: Raises BadEvent for examples, already cast, of which it cannot learn.
    """

    x: Callable[[Array], Array]
    y: Callable[[Array], Array]
    check: Callable[[Batch[Array]], None]


class Cutter:
    """Cuts the examples of a stream into episodes.

    Args:
        sizes: Of the episodes.
        bounds: Of the waiting.
        memories: The tasks as the state has them.
        model: What it asks of examples.
    """

    def __init__(self, sizes: Sizes, bounds: Bounds, memories: Memories, model: Model) -> None:
        self._sizes = sizes
        self._bounds = bounds
        self._memories = memories
        self._model = model
        self._sweeps = [bound for bound in bounds if bound]
        self._open: dict[str, Buffer] = {}

    def portion(self, examples: Examples | HalfExamples, number: int) -> Portion:
        """What the record with this number comes to; nothing changes but what is held for an open iteration.

        Raises:
            BadEvent: the examples do not fit the model, those that the task has gathered, or their half.
        """
        task = examples.task
        held, dropped = self._held(task, number)
        asked = None
        if isinstance(examples, HalfExamples) and examples.part == "x":
            asked = Asked(Question(task, examples.array, name=examples.name), held.examples)
        whole, halves = self._joined(held.halves, examples, number)
        replaced = len(held.halves) + 1 - len(halves) if whole is None else 0
        dropped = dropped.plus(Tally(unmatched=replaced))
        rest, episodes = held.examples, list[Episode[Array]]()
        if whole is not None:
            self._model.check(whole)
            _check_alike(held.examples, whole)
            rest, episodes = cut(concatenated(held.examples, whole), self._sizes)
        after = Buffer(rest, halves, number)
        if episodes:  # the next record of this task is read when they are learned, or refused
            self._open.pop(task, None)
        else:
            self._open[task] = after
        return Portion(
            task,
            tuple(TaskEvent(task, episode, examples.time_ms) for episode in episodes),
            after,
            Buffer(section(held.examples, self._sizes.stride), held.halves, number),
            dropped,
            asked,
        )

    def asked(self, question: Question, number: int) -> Asked:
        """What the record with this number asks, which brings nothing to learn from; nothing changes."""
        if question.support is not None:
            return Asked(question, None)
        return Asked(question, self._held(question.task, number)[0].examples)

    def settled(self) -> None:
        """No iteration waits: the state has what was held for them; or they are given up."""
        self._open.clear()

    def due(self, number: int) -> bool:
        """Whether what nobody comes back for shall be looked for before the record with this number."""
        return any(number % bound == 0 for bound in self._sweeps) if self._sweeps else False

    def sweep(self, number: int) -> Tally:
        """Drop what waited too long, in the state; no iteration may be open. Reads all tasks that wait."""
        total = NOTHING
        late = [
            task
            for task, since in self._memories.waiting()
            if _late(since.task, self._bounds.tasks, number) or _late(since.half, self._bounds.halves, number)
        ]
        for task in late:
            entry = self._memories.get(task)
            kept, dropped = self._kept(entry.buffer, number, learned=entry.stats.events > 0)
            self._memories.put(task, entry._replace(buffer=kept))
            total = total.plus(dropped)
        return total

    def _held(self, task: str, number: int) -> tuple[Buffer, Tally]:
        """What the task holds when this record comes, and what has expired."""
        entry = self._memories.get(task)
        return self._kept(self._open.get(task, entry.buffer), number, learned=entry.stats.events > 0)

    def _kept(self, buffer: Buffer, number: int, *, learned: bool) -> tuple[Buffer, Tally]:
        """What of the buffer has not expired when this record comes."""
        if not learned and not buffer.empty and _late(buffer.since, self._bounds.tasks, number):
            return Buffer(), Tally(expired=1, unmatched=len(buffer.halves))
        halves = {
            name: half
            for name, half in buffer.halves.items()
            if not _late(half.since, self._bounds.halves, number)
        }
        gone = len(buffer.halves) - len(halves)
        return (buffer._replace(halves=halves), Tally(unmatched=gone)) if gone else (buffer, NOTHING)

    def _joined(
        self, halves: Mapping[str, Half], examples: Examples | HalfExamples, number: int
    ) -> tuple[Batch[Array] | None, Mapping[str, Half]]:
        """The labelled examples, in the model's numbers, if both halves are there; and what still waits."""
        if isinstance(examples, Examples):
            x, y = examples.examples
            return Batch(self._model.x(x), self._model.y(y)), halves
        name, part = examples.id, examples.part
        array = self._model.x(examples.array) if part == "x" else self._model.y(examples.array)
        mate = halves.get(name)
        if mate is None or mate.part == part:
            self._check_wait()
            return None, {**halves, name: Half(part, array, number)}
        x, y = (array, mate.array) if part == "x" else (mate.array, array)
        if len(x) != len(y):
            text = f"id {name[:60]!r}: x has {counted(len(x), 'example')}, y has {len(y)}"
            raise BadEvent(Reason.SHAPE_MISMATCH, text)
        return Batch(x, y), {other: half for other, half in halves.items() if other != name}

    def _check_wait(self) -> None:
        if not self._bounds.halves:
            raise BadEvent(
                Reason.UNDECODABLE,
                "x without y, or y without x, while events.label_wait_events = 0; send both, or raise it",
            )


def cut(examples: Batch[Array], sizes: Sizes) -> tuple[Batch[Array] | None, list[Episode[Array]]]:
    """The episodes in a task's examples, and what is held for the next one.

    >>> import numpy as np
    >>> numbers = Batch(np.arange(5), np.arange(5))
    >>> rest, episodes = cut(numbers, Sizes(support=2, query=1, stride=1))
    >>> [(episode.support.x.tolist(), episode.query.x.tolist()) for episode in episodes], rest.x
    ([([0, 1], [2]), ([1, 2], [3]), ([2, 3], [4])], array([3, 4]))
    """
    (x, y), (support, query, stride) = examples, sizes
    episodes, begin = [], 0
    while len(x) - begin >= support + query:
        middle, end = begin + support, begin + support + query
        episodes.append(Episode(Batch(x[begin:middle], y[begin:middle]), Batch(x[middle:end], y[middle:end])))
        begin += stride
    return (section(examples, begin) if begin else examples), episodes


def _check_alike(held: Batch[Array] | None, new: Batch[Array]) -> None:
    if held is None:
        return
    for name, old, array in (("x", held.x, new.x), ("y", held.y, new.y)):
        if old.shape[1:] != array.shape[1:] or old.dtype != array.dtype:
            raise BadEvent(
                Reason.SHAPE_MISMATCH,
                f"an example of {name} is {array.dtype} of shape {array.shape[1:]}; those that its task has "
                f"gathered are {old.dtype} of shape {old.shape[1:]}",
            )


def _late(since: int, bound: int, number: int) -> bool:
    return bool(since and bound and number - since > bound)
