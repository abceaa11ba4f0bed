"""Predictions of many tasks by one function of padded size: eager at first, traced where shapes come again.

A function takes the state's tensors, then arrays with a leading task axis, and gives the predictions. Traces
are made for some sizes alone; fewer tasks are filled up with copies of the first. One thread at a time.

Invariant: what is asked for alone has the same bits whatever was asked before; a trace that gives others than
the eager function is not used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Final

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.errors import BadEvent, ConfigError, NoAnswer, Reason
from streammeta.learner.flat import state_tensors
from streammeta.learner.graphs import FlatStep, plain_trace, refuse_machine_fault
from streammeta.learner.shapes import check_classes
from streammeta.models.faults import told
from streammeta.models.shape_words import shape_words
from streammeta.models.trial import try_model
from streammeta.serving.asking import Kind
from streammeta.serving.eager import Eager

SIZES: Final = (1, 8, 64, 256, 1024)
"""Tasks that one call computes."""
TRACED_AT: Final = 3
"""The call at which a size of a shape is traced: a trace costs as much as some hundred eager calls."""
MAX_TRACES: Final = 64
MAX_SHAPES: Final = 4096
"""Shapes of which it is remembered whether the model takes them."""
_TRACING: Final = Lock()
"""Held while a thread of its own traces: one after the other."""

Shape = tuple[Kind, tuple[tuple[tuple[int, ...], torch.dtype], ...]]


@dataclass(slots=True)
class Prepared:
    """What is known of a shape.

    Attributes:
        refusal: The field that the model does not take, and why; None where it takes all.
        classes: How many classes the model tells apart in a support set, 0 for none.
        calls: By size, how often it was computed.
        traced: By size.
        maps: Whether tasks are computed at once; else one by one, as a model needs it that no map can take.
    """

    refusal: tuple[str, str] | None = None
    classes: int = 0
    calls: dict[int, int] = field(default_factory=dict)
    traced: dict[int, FlatStep] = field(default_factory=dict)
    maps: bool = True


class Functions:
    """The prediction functions of one learner."""

    def __init__(self, eager: Eager, spare: Callable[[], Eager] | None = None) -> None:
        """`spare`: the same once more, for a thread that traces; None: whoever asks waits for it."""
        self._eager = eager
        self._spare = spare
        self._shapes: dict[Shape, Prepared] = {}
        self._traces = 0

    def run(self, kind: Kind, state: State, arrays: Sequence[Tensor]) -> Tensor:
        """Predictions (B, examples, …) for B tasks.

        Args:
            kind: At which parameters.
            state: The learner's.
            arrays: x (B, examples, …), behind what the kind needs: memories (B, M), or support x and y.

        Raises:
            NoAnswer: the model does not take these shapes, or has no such class.
            IndexError, ValueError, RuntimeError, …: it refuses these values.
        """
        shape = (kind, tuple((tuple(array.shape[1:]), array.dtype) for array in arrays))
        with torch.no_grad():
            prepared = self._prepared(shape, state, arrays)
            if prepared.classes:
                _check_classes(arrays[1], prepared.classes)
            count = len(arrays[0])
            size = next(size for size in SIZES if size >= count)
            filled = [*state_tensors(state), *(_filled(array, size) for array in arrays)]
            (predictions,) = self._function(kind, state, prepared, size, filled)(*filled)
        return predictions[:count]

    def _prepared(self, shape: Shape, state: State, arrays: Sequence[Tensor]) -> Prepared:
        prepared = self._shapes.get(shape)
        if prepared is None:
            if len(self._shapes) >= MAX_SHAPES:
                del self._shapes[next(iter(self._shapes))]
            prepared = self._shapes[shape] = self._tried(shape[0], state, arrays)
        if prepared.refusal is not None:
            field, message = prepared.refusal
            raise NoAnswer(Reason.SHAPE_MISMATCH, field, message)
        return prepared

    def _tried(self, kind: Kind, state: State, arrays: Sequence[Tensor]) -> Prepared:
        """Whether the model takes arrays of these shapes: tried on zeros, one task and two."""
        network, blank, prepared = (
            self._eager.network,
            [torch.zeros_like(array[:1]) for array in arrays],
            Prepared(),
        )
        function = self._eager.function(kind, state)
        field, x = "x", blank[-1][0]
        try:
            network.predict(state.params.clone(), x.clone())
            if kind == "adapted":
                field, x = "support.x", blank[0][0]
                network.predict(state.params.clone(), x.clone())
                field = "support.y"
                prepared.classes = try_model(network, state.params, x, blank[1][0])
            function(*state_tensors(state), *blank)
        except Exception as error:  # noqa: BLE001 (the user's code may raise anything)
            refuse_machine_fault(error)
            words = shape_words(network, state.params, x) or told(error)
            return Prepared((field, f"{field}: {words}"))
        try:
            function(*state_tensors(state), *(torch.cat((one, one)) for one in blank))
        except Exception as error:  # noqa: BLE001 (whatever it is, tasks can be computed without the map)
            refuse_machine_fault(error)
            prepared.maps = False
        return prepared

    def _function(
        self, kind: Kind, state: State, prepared: Prepared, size: int, inputs: Sequence[Tensor]
    ) -> FlatStep:
        traced = prepared.traced.get(size)
        if traced is not None:
            return traced
        calls = prepared.calls[size] = prepared.calls.get(size, 0) + 1
        if calls == TRACED_AT and self._traces < MAX_TRACES:
            self._traces += 1
            self._trace(kind, state, prepared, size, inputs)
        return self._eager.function(kind, state, maps=prepared.maps)

    def _trace(
        self, kind: Kind, state: State, prepared: Prepared, size: int, inputs: Sequence[Tensor]
    ) -> None:
        """Trace it, if it can be where nobody waits: beside a learner it takes seconds, or a minute."""

        def trace(eager: Eager) -> None:
            function = eager.function(kind, state, maps=prepared.maps)
            prepared.traced[size] = _traced(function, inputs, len(state_tensors(state)))

        spare = self._spare
        if spare is None:
            trace(self._eager)
        else:
            Thread(target=_aside, args=(trace, spare), name="tracing", daemon=True).start()


def _aside(trace: Callable[[Eager], None], spare: Callable[[], Eager]) -> None:
    with _TRACING, torch.no_grad():
        try:
            trace(spare())
        except Exception:  # noqa: BLE001 (whatever it is, the eager function answers)
            return


def _check_classes(labels: Tensor, classes: int) -> None:
    try:
        check_classes(*labels.aminmax(), classes)
    except BadEvent as refusal:
        raise NoAnswer(refusal.reason, "support.y", str(refusal)) from refusal


def _traced(eager: FlatStep, inputs: Sequence[Tensor], of_state: int) -> FlatStep:
    """The same function as a trace, where there can be one and it gives the same bits for these inputs."""
    try:
        traced = plain_trace(
            eager, [*inputs[:of_state], *(torch.zeros_like(array) for array in inputs[of_state:])]
        )
    except ConfigError:  # a model that no trace can hold is computed eagerly
        return eager
    (one,), (other,) = eager(*inputs), traced(*inputs)
    return traced if one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes() else eager


def _filled(array: Tensor, size: int) -> Tensor:
    """The array with copies of its first row behind."""
    missing = size - len(array)
    return torch.cat((array, array[:1].expand(missing, *array.shape[1:]))) if missing else array
