"""Answers to what is asked of one whole state, many at once.

Reads all that it needs of the state first, then computes group by group: what is asked at the same kind of
parameters, of the same shapes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.errors import BadEvent, NoAnswer, StreammetaError
from streammeta.events import Array, Batch
from streammeta.learner.graphs import refuse_machine_fault
from streammeta.models.faults import told
from streammeta.models.network import Network
from streammeta.serving.asking import Answer, Ask, Kind, Known, View
from streammeta.serving.eager import Eager
from streammeta.serving.functions import SIZES, Functions
from streammeta.wording import counted

_MOST_NUMBERS: Final = 1 << 24
"""Numbers of the parameters that one call makes for its tasks, about; they bound its memory."""


class Placed(NamedTuple):
    """What is asked, with what the state knows of it; `number` is its place among those asked together."""

    number: int
    ask: Ask
    kind: Kind
    known: Known | None
    support: Batch[Array] | None


class Predictor:
    """Answers for one learner. One thread at a time.

    Args:
        network: Model and loss; a module that no other thread uses.
        learner: How it adapts, and what its memories mean.
        support: Examples of a task's buffer that it is adapted on, the newest; as many as an episode's
            support set has.
        max_examples: The most examples in x, or in a support set.
        spare: Builds the same once more, for a thread that traces; None: whoever asks waits for a trace.
    """

    def __init__(
        self,
        network: Network,
        learner: MetaLearner,
        *,
        support: int,
        max_examples: int,
        spare: Callable[[], Eager] | None = None,
    ) -> None:
        self._network = network
        self._learner = learner
        self._support = support
        self._max_examples = max_examples
        self._functions = Functions(Eager(network, learner), spare)

    def predict(self, view: View, asks: Sequence[Ask]) -> list[Answer]:
        """The answers, in the order of what is asked; all or none.

        Raises:
            NoAnswer: one of them cannot be had; names which, the field, and why.
        """
        state, events = view.state, view.events
        placed = [self._placed(view, number, ask) for number, ask in enumerate(asks)]
        outputs: dict[int, Array] = {}
        for group in _groups(placed):
            for part in self._parts(group):
                outputs.update(zip((one.number for one in part), self._computed(state, part), strict=True))
        return [
            Answer(
                ask.task,
                outputs[number],
                kind,
                known is not None,
                events,
                known.events if known is not None else 0,
            )
            for number, ask, kind, known, _ in placed
        ]

    def kinds(self, view: View, task: str) -> list[Kind]:
        """At which parameters the task can be asked without a support set."""
        found: list[Kind] = []
        for kind in get_args(Kind):
            with suppress(NoAnswer):
                found.append(self._placed(view, 0, Ask(task, np.zeros((1, 1)), at=kind)).kind)
        return found

    def _placed(self, view: View, number: int, ask: Ask) -> Placed:
        known = view.task(ask.task)
        support = ask.support
        for field, given in (("x", ask), ("support.x", support)):
            if given is not None and len(given.x) > self._max_examples:
                message = (
                    f"{field}: {counted(len(given.x), 'example')}, more than events.max_examples = "
                    f"{self._max_examples:,}; send fewer at once"
                )
                raise NoAnswer("too_large", field, message, number)
        if support is None and known is not None and known.examples is not None:
            x, y = known.examples
            support = Batch(x[-self._support :], y[-self._support :])
        remembered = known is not None and len(known.memory) > 0 and self._learner.task_params is not None
        kind = ask.at
        if kind == "auto":
            kind = "adapted" if support is not None else "memory" if remembered else "meta"
        if kind == "memory" and not remembered:
            raise NoAnswer("no_memory", "at", self._why_no_memory(ask.task, known), number)
        if kind == "adapted" and support is None:
            message = (
                "neither a support set was given, nor does the task's buffer hold examples; send a support "
                "set, or ask at auto, memory or meta"
            )
            raise NoAnswer("no_support", "support", message, number)
        return Placed(number, ask, kind, known, support if kind == "adapted" else None)

    def _why_no_memory(self, task: str, known: Known | None) -> str:
        if self._learner.task_params is None:
            why = "the algorithm keeps no memory of tasks"
        elif known is None:
            why = f"the task {task!r} is not known, so it has no memory"
        elif known.events:
            why = f"the task {task!r} was reset, and not learned from since, so it has no memory yet"
        else:
            why = f"the examples of the task {task!r} wait for their first episode, so it has no memory yet"
        return f"{why}; ask at meta, or adapted with a support set"

    def _parts(self, group: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
        """The group in pieces that take no more memory than one of the largest sets, and the parameters."""
        _, ask, kind, _, support = group[0]
        own = {"meta": 0, "memory": 1, "adapted": 4}[kind] * self._network.dimension
        examples = len(ask.x) + (0 if support is None else len(support.x))
        fitting = min(self._max_examples // examples, _MOST_NUMBERS // max(1, own))
        most = max(1, min(SIZES[-1], fitting))
        for begin in range(0, len(group), most):
            yield group[begin : begin + most]

    def _computed(self, state: State, part: Sequence[Placed]) -> Array:
        """Predictions of one call; when it is refused, the first that is refused alone is named."""
        try:
            predictions = self._run(state, part)
        except NoAnswer:
            if len(part) > 1:
                for one in part:
                    self._computed(state, [one])
            raise
        finite = np.isfinite(predictions).reshape(len(part), -1).all(1)
        if not finite.all():
            one = part[int(np.argmin(finite))]
            field = "x" if one.ask.support is None else "support"
            message = (
                f"{field}: the prediction at {one.kind} is not finite; send smaller numbers, or ask at "
                "another of auto, memory and meta"
            )
            raise NoAnswer("non_finite_prediction", field, message, one.number)
        return predictions

    def _run(self, state: State, part: Sequence[Placed]) -> Array:
        number, network = part[0].number, self._network
        x = _cast(network.x_numbers, [one.ask.x for one in part], "x", number)
        arrays: list[Tensor] = []
        if part[0].kind == "memory":
            memories = [one.known.memory for one in part if one.known is not None]
            arrays.append(torch.from_numpy(_stacked(memories)))
        supports = [one.support for one in part if one.support is not None]
        if supports:
            arrays.append(_cast(network.x_numbers, [x for x, _ in supports], "support.x", number))
            arrays.append(_cast(network.y_numbers, [y for _, y in supports], "support.y", number))
        try:
            given = [array.to(network.device) for array in (*arrays, x)]
            predictions: Array = self._functions.run(part[0].kind, state, given).cpu().numpy()
        except NoAnswer as refusal:
            raise NoAnswer(refusal.reason, refusal.field, str(refusal), number) from refusal
        except StreammetaError:
            raise
        except Exception as error:
            refuse_machine_fault(error)
            raise NoAnswer("bad_tensor", "x", f"the model refuses the data: {told(error)}", number) from error
        return predictions


def _groups(placed: Sequence[Placed]) -> Iterator[list[Placed]]:
    """Those that one function computes."""
    groups: dict[object, list[Placed]] = {}
    for one in placed:
        x, support = one.ask.x, one.support
        key: tuple[object, ...] = (one.kind, x.shape, x.dtype)
        if support is not None:
            key = (*key, support.x.shape, support.x.dtype, support.y.shape, support.y.dtype)
        groups.setdefault(key, []).append(one)
    yield from groups.values()


def _cast(numbers: Callable[[Array], Array], arrays: Sequence[Array], field: str, number: int) -> Tensor:
    """The arrays stacked, in the model's numbers."""
    try:
        return torch.from_numpy(numbers(_stacked(arrays)))
    except BadEvent as refusal:
        raise NoAnswer(refusal.reason, field, f"{field}: {refusal}", number) from refusal


def _stacked(arrays: Sequence[Array]) -> Array:
    """As `np.stack` of arrays of one shape, in a third of its time for many small ones."""
    return np.concatenate(arrays).reshape(len(arrays), *arrays[0].shape)
