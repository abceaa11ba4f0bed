"""Flat lists of tensors, as graphs and compiled steps take them: their order, their names, their shapes."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, State
from streammeta.events import Episode
from streammeta.learner.verification import Output

Signature = tuple[tuple[tuple[int, ...], torch.dtype], ...]


def signature_of(episode: Episode[Tensor]) -> Signature:
    """Shapes and dtypes of the four tensors."""
    return tuple((tuple(t.shape), t.dtype) for batch in episode for t in batch)


def state_tensors(state: State) -> list[Tensor]:
    """All tensors of a state, in the order in which `read_state` takes them: slots by name.

    A state that was stored, or that an update made, may hold them in another order.
    """
    slots = [named[name] for named in (state.outer, state.slots) for name in sorted(named)]
    return [state.params, *slots, state.inner_lr, state.meta_lr]


def read_state(like: State, flat: list[Tensor]) -> tuple[State, list[Tensor]]:
    """A state with the names of `like` from the front of `flat`, and what follows it."""
    values = iter(flat)
    state = State(
        params=next(values),
        outer=_named(like.outer, values),
        slots=_named(like.slots, values),
        inner_lr=next(values),
        meta_lr=next(values),
    )
    return state, list(values)


def _named(like: Mapping[str, Tensor], values: Iterator[Tensor]) -> dict[str, Tensor]:
    return {name: next(values) for name in sorted(like)}


def outputs_of(state: State) -> list[Output]:
    """What a flat step gives, in words."""
    slots = [name for named in (state.outer, state.slots) for name in sorted(named)]
    moved = ["meta-parameters", *slots, "inner rate", "meta rate", "memory"]
    return [
        Output("verdict"),
        Output("predictions"),
        *(Output(name, place) for place, name in enumerate(moved)),
        *(Output(name) for name in Info._fields),
    ]


def in_words(signature: Signature) -> str:
    """Dtypes and shapes of support x, support y, query x, query y.

    >>> in_words((((1, 3, 2), torch.float32), ((1, 3), torch.int64)))
    'float32[1,3,2] int64[1,3]'
    """
    return " ".join(
        f"{str(dtype).removeprefix('torch.')}[{','.join(map(str, shape))}]" for shape, dtype in signature
    )
