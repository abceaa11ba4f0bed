"""A meta-learner whose numbers are exact and depend on the order of events, and the same in plain Python.

With P = 1,000,003 and s the sum of an event's numbers, weighted by their places:

    u' = (33 u + s + w_0 + 1) mod P,    w' = (31 w + sum over the iteration of u' + 7) mod P

All are multiples of 2^-26 below 2^27, so float64 holds them exactly and sums may be made in any order. A
compiled step adds 2^-26 to u': far less than what the comparison of steps allows, and seen at the end. An
event that holds `WILD` gives no finite update.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, MetaLearner, State
from streammeta.codec import change_of, decode
from streammeta.config import Config, config_hash, fit
from streammeta.errors import BadEvent
from streammeta.events import Batch, Change, Episode, Forget, Record
from streammeta.learner.tracing import Steps
from streammeta.models.loading import load_network
from streammeta.models.network import Network
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from streammeta.state.checkpoint import Origin

P = 1_000_003.0
WILD = -9e8
FIRST = 300_007.0
SHIFT = 2.0**-26
SETTINGS: Mapping[str, Any] = {
    "model": {"factory": "streammeta.models:mlp", "args": {"sizes": [2, 1]}, "dtype": "float64"},
    "algorithm": {"name": "moml", "inner_lr": 0.01, "beta": 0.3},
    "outer": {"name": "sgd", "lr": 0.01, "momentum": 0.5, "clip_norm": 5.0},
}
"""What a state is made with; the exact learner only bears the name."""


def _sums(episode: Episode[Tensor]) -> Tensor:
    total: Tensor = episode.query.y.new_zeros(len(episode.query.y))
    for weight, array in enumerate((*episode.support, *episode.query), start=1):
        total = total + weight * array.flatten(1).sum(1)
    return total


def _init(w: Tensor) -> State:
    whole = torch.arange(1.0, len(w) + 1, dtype=w.dtype) * FIRST
    rates = torch.tensor(0.5, dtype=w.dtype), torch.tensor(0.25, dtype=w.dtype)
    return State(whole, {"momentum": torch.zeros_like(w)}, {}, *rates)


def _update(
    state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
) -> tuple[State, Tensor, Info]:
    s, u = _sums(episode), memory[:, 0] * seen
    after = torch.remainder(33 * u + s + state.params[0] + 1, P)
    after = torch.where(episode.support.x.flatten(1).amin(1) <= WILD, torch.nan, after)
    w = torch.remainder(31 * state.params + after.sum() + 7, P)
    outer = {"momentum": torch.remainder(3 * state.outer["momentum"] + state.params, P)}
    loss = torch.remainder(s, 97.0)
    info = Info(loss, loss + 1, loss + 2, w[0], (w - state.params)[0], loss)
    return state._replace(params=w, outer=outer), after[:, None], info


def _adapt(state: State, _support: Batch[Tensor]) -> Tensor:
    return state.params


LEARNER = MetaLearner(_init, _update, _adapt, memory_size=1)


@cache
def _network() -> tuple[Network, Steps]:
    torch.set_num_threads(1)
    network = load_network(
        "streammeta.models:mlp", {"sizes": [2, 1]}, loss="mse", seed=0, dtype="float64", device="cpu"
    )
    return network, Steps(LEARNER, network)


def exact_steps() -> Steps:
    """The exact learner's, traced once for all worlds."""
    return _network()[1]


@cache
def _moml() -> Blueprint:
    return build_blueprint(Config.model_validate(SETTINGS))


def blueprint_for(config: Config, *, real: bool = False) -> Blueprint:
    """What computes with these numbers, or MOML; traced once for all worlds."""
    if real:
        origin = replace(_moml().origin, fit=fit(config), config_hash=config_hash(config))
        return replace(_moml(), origin=origin)
    network, steps = _network()
    return Blueprint(
        network, LEARNER, steps, Origin(fit(config), config_hash(config), network.layout, "float64")
    )


@dataclass
class Expected:
    """The same numbers in plain Python: what an undisturbed run over iterations in this order comes to.

    Attributes:
        w, momentum: The meta-state.
        memories: Task -> its number; none after a reset.
        visits: Task -> events learned from.
        refused: Reason -> records.
        letters: Those records.
        window: Records during which an event is known by its id; 0: none is.
        known: Id -> the number of the record that was learned.
        records: How many there were.
        events: Learned from.
    """

    w: list[float] = field(default_factory=lambda: [FIRST, 2 * FIRST, 3 * FIRST])
    momentum: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    memories: dict[str, float] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    letters: list[Record] = field(default_factory=list)
    window: int = 0
    known: dict[bytes, int] = field(default_factory=dict)
    records: int = 0
    events: int = 0

    def iteration(self, records: Sequence[Record], *, compiled: bool) -> None:
        """One more."""
        learned = list[tuple[str, float]]()
        for record in records:
            self.records += 1
            event = dict(record.headers).get("ce_id") or b""
            if self.window and event in self.known and self.records - self.known[event] <= self.window:
                continue
            read = _read(record) if record.flaw is None else str(record.flaw.reason)
            if isinstance(read, Change):
                self.memories.pop(read.task, None)
                if isinstance(read, Forget):
                    self.visits.pop(read.task, None)
                self.known[event] = self.records
            elif isinstance(read, str):
                self.refused[read] = self.refused.get(read, 0) + 1
                self.letters.append(record)
            else:
                learned.append(read)
                self.known[event] = self.records
        if not learned:
            return
        after = 0.0
        for task, s in learned:
            u = math.fmod(33 * self.memories.get(task, 0.0) + s + self.w[0] + 1, P)
            u = self.memories[task] = (u + P if u < 0 else u) + (SHIFT if compiled else 0.0)
            self.visits[task] = self.visits.get(task, 0) + 1
            self.events += 1
            after += u
        self.momentum = [(3 * m + w) % P for m, w in zip(self.momentum, self.w, strict=True)]
        self.w = [(31 * w + after + 7) % P for w in self.w]


@cache
def _read_value(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> object:
    record = Record("tasks", 0, 0, 0, key, value, headers)
    try:
        event = change_of(record) or decode(record, max_bytes=1 << 20)
    except BadEvent as refusal:
        return str(refusal.reason)
    if isinstance(event, Change):
        return event
    arrays = [array for batch in event.episode for array in batch]
    if any(array.shape[1] != width for array, width in zip(arrays, (2, 1, 2, 1), strict=True)):
        return "shape_mismatch"
    if arrays[0].min() <= WILD:
        return "non_finite_update"
    return event.task, float(sum(weight * array.sum() for weight, array in enumerate(arrays, start=1)))


def _read(record: Record) -> "tuple[str, float] | str | Change":
    read = _read_value(record.key, record.value, record.headers)
    assert isinstance(read, str | tuple | Change)
    return read
