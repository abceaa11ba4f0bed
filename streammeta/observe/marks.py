"""What happened to a run at one moment: lines on its curves, in bounded number, part of the history.

Each kind keeps its last `MOST`; tasks that got worse about the same time share one mark, and where there
would be too many of those, the two nearest ones become one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, get_args

from streammeta.evaluation.drift import Detection
from streammeta.outcomes import Executing, Learned, Outcome, RatesChanged, TaskChanged

Kind = Literal["restart", "rates", "executor", "stream", "tasks"]

MOST: Final = 24
"""Marks of one kind."""
TOGETHER_SECONDS: Final = 10.0
"""Tasks that get worse within so long share a mark."""
NAMED: Final = 3
"""Tasks that a mark names."""


class Mark(NamedTuple):
    """One moment.

    Attributes:
        id: Counts marks in the order made; one that grows keeps its id.
        kind: Started again, other learning rates, other steps, the stream's losses or tasks' got worse.
        seconds: Unix time.
        events: Events learned before or with it.
        words: What happened.
        tasks: How many tasks it tells of.
        names: The first of them.
    """

    id: int
    kind: Kind
    seconds: float
    events: int
    words: str
    tasks: int = 0
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Marks:
    """Folds outcomes into marks."""

    _by_kind: dict[Kind, list[Mark]] = field(default_factory=lambda: {kind: [] for kind in get_args(Kind)})
    _events: int = 0
    _made: int = 0
    _served: tuple[int, int] = (0, 0)

    def fold(self, outcome: Outcome, now: float) -> None:
        """Mark what the outcome tells of, if it does."""
        match outcome:
            case Learned():
                self._events = outcome.events
                if outcome.drifts:
                    self._drifted(outcome.drifts, now)
            case TaskChanged(task=task, change="forget"):
                self._by_kind["tasks"] = [_without(task, mark) for mark in self._by_kind["tasks"]]
            case RatesChanged(inner_lr, meta_lr):
                self.add("rates", now, f"learning rates: inner {inner_lr:g}, meta {meta_lr:g}")
            case Executing(compiled=compiled, traced=traced, eager=eager):
                if (compiled, eager) != self._served:
                    self._served = compiled, eager
                    shapes = compiled + traced + eager
                    self.add("executor", now, f"{compiled} of {shapes} shapes compiled, {eager} eager")

    def add(self, kind: Kind, now: float, words: str, events: int | None = None) -> None:
        """One more mark, at the last event told unless `events` says otherwise."""
        self._keep(kind, Mark(self._next(), kind, now, self._events if events is None else events, words))

    def all(self) -> tuple[Mark, ...]:
        """In the order of time."""
        return tuple(sorted((mark for marks in self._by_kind.values() for mark in marks), key=lambda m: m.id))

    def plain(self) -> list[Sequence[Any]]:
        """As JSON keeps them."""
        return [list(mark) for mark in self.all()]

    def resume(self, plain: Iterable[Sequence[Any]], events: int) -> None:
        """Continue from what `plain` was, after so many events.

        Raises:
            ValueError: it is none.
        """
        self._events = max(self._events, events)
        by_kind: dict[Kind, list[Mark]] = {kind: [] for kind in get_args(Kind)}
        try:
            for number, kind, seconds, at, words, tasks, names in plain:
                mark = Mark(int(number), kind, float(seconds), int(at), str(words), int(tasks), (*names,))
                by_kind[mark.kind].append(mark)
                self._made = max(self._made, mark.id)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"marks: {error!r}") from error
        self._by_kind = by_kind

    def _drifted(self, drifts: Sequence[Detection], now: float) -> None:
        for one in drifts:
            if not one.task:
                words = f"the stream got worse: loss {one.before:.3g}, then {one.after:.3g}"
                self.add("stream", now, words, one.event)
        found = [one for one in drifts if one.task]
        if not found:
            return
        new = _of_tasks(0, now, found[0].event, len(found), tuple(one.task for one in found))
        marks = self._by_kind["tasks"]
        if marks and now - marks[-1].seconds < TOGETHER_SECONDS:
            marks[-1] = _joined(marks[-1], new)
        else:
            self._keep("tasks", new._replace(id=self._next()))

    def _next(self) -> int:
        self._made += 1
        return self._made

    def _keep(self, kind: Kind, mark: Mark) -> None:
        marks = self._by_kind[kind]
        marks.append(mark)
        if len(marks) <= MOST:
            return
        if kind != "tasks":
            del marks[0]
            return
        gaps = [after.events - before.events for before, after in pairwise(marks)]
        at = gaps.index(min(gaps))
        marks[at : at + 2] = [_joined(marks[at], marks[at + 1])]


def _of_tasks(number: int, seconds: float, events: int, tasks: int, names: tuple[str, ...]) -> Mark:
    names = tuple(dict.fromkeys(names))[:NAMED]
    listed = ", ".join((*names, *["…"][: tasks - len(names)]))
    words = f"{listed} got worse" if tasks == 1 else f"{tasks:,} tasks got worse: {listed}"
    return Mark(number, "tasks", seconds, events, words, tasks, names)


def _without(task: str, mark: Mark) -> Mark:
    """The mark, which does not name the task; it still counts it."""
    if task not in mark.names:
        return mark
    names = tuple(name for name in mark.names if name != task)
    return _of_tasks(mark.id, mark.seconds, mark.events, mark.tasks, names)


def _joined(one: Mark, other: Mark) -> Mark:
    """One mark for both, where the first stood."""
    return _of_tasks(one.id, one.seconds, one.events, one.tasks + other.tasks, one.names + other.names)
