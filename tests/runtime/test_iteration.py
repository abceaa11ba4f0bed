"""An iteration is learned as a whole, but for the events that are to blame when it is refused."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import Info, MetaLearner, State
from streammeta.errors import BadEvent, Reason
from streammeta.events import Batch, Episode, TaskEvent
from streammeta.learner.engine import Engine, Progress
from streammeta.learner.tracing import Steps
from streammeta.runtime.iteration import iterate
from streammeta.state.memories import Memories
from tests.learner.test_engine import parts, snapshot
from tests.networks import arrays, event

REFUSAL = BadEvent(Reason.UNDECODABLE, "for the test")


def an_event(task: str, examples: int = 2) -> TaskEvent:
    """An event with so many support examples."""
    return event(task, arrays(np.random.default_rng(examples), support=examples))


def engine_of(learner: MetaLearner | None = None) -> Engine:
    """A new engine without a store; of MOML unless another learner is given."""
    made, chosen, steps = parts("moml")
    if learner is not None:
        steps = Steps(learner, made)
    memories = Memories(lambda _: None, made.initial.new_zeros(chosen.memory_size), 100)
    return Engine(made, steps, chosen.init(made.initial), Progress(), memories)


def changed(one: TaskEvent, factor: float) -> TaskEvent:
    """The event with its query's y multiplied."""
    (x, y), query = one.episode
    return event(one.task, Episode(Batch(x, y), Batch(query.x, query.y * factor)))


def run_iteration(engine: Engine, *reads: TaskEvent | BadEvent) -> list[Reason | None]:
    """Reasons of the refused; None for the learned."""
    results = iterate(engine, reads, lambda: 0.0)
    return [None if isinstance(result, tuple) else result.reason for result in results]


@pytest.mark.parametrize(
    ("factor", "reason"), [(math.nan, Reason.NON_FINITE_INPUT), (1e200, Reason.NON_FINITE_UPDATE)]
)
def test_those_to_blame_are_refused_and_the_others_are_one_iteration(factor: float, reason: Reason) -> None:
    """It is as if the events refused alone had not been there: the same bits, one meta-update."""
    a, b, c, d = (event(task, arrays(np.random.default_rng(ord(task)))) for task in "abcd")
    engine, calm = engine_of(), engine_of()
    bad_a, bad_c = (changed(one, factor) for one in (a, c))
    assert run_iteration(engine, bad_a, b, REFUSAL, bad_c, d) == [
        reason,
        None,
        Reason.UNDECODABLE,
        reason,
        None,
    ]
    assert run_iteration(calm, b, d) == [None, None]
    assert repr(snapshot(engine)) == repr(snapshot(calm))
    assert not torch.equal(engine.state.params, engine_of().state.params)


def test_without_anyone_to_blame_each_event_is_an_iteration() -> None:
    """A learner that overflows with tasks together, with none alone: each is learned, one after the other."""
    _, chosen, _ = parts("moml")

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        state, memory, info = chosen.update(state, memory, seen, episode)
        return state._replace(params=state.params * (math.inf if len(seen) > 1 else 1.0)), memory, info

    alone, together = engine_of(), engine_of(chosen._replace(update=update))
    events = [an_event(task, examples=4) for task in "abc"]
    assert run_iteration(together, *events) == [None] * 3
    for one in events:
        assert run_iteration(alone, one) == [None]
    assert repr(snapshot(together)) == repr(snapshot(alone))


def test_events_are_told_with_their_own_count_and_their_share_of_the_time() -> None:
    """Progress is that after each event; the stages' seconds add up to those of the iteration."""
    engine, ticks = engine_of(), iter([10.0, 11.0, 14.0, 20.0])
    results = iterate(engine, [an_event("a", 4), an_event("b", 4)], lambda: next(ticks))
    learnt = [one for result in results if isinstance(result, tuple) for one in result]
    assert [one.update.progress.events for one in learnt] == [1, 2]
    assert learnt[0].update.progress.prequential != learnt[1].update.progress.prequential
    assert learnt[1].update.progress == engine.progress
    assert [one[3:] for one in learnt] == [(0.5, 1.5, 3.0)] * 2


def test_a_row_does_not_keep_its_iteration_alive() -> None:
    """Each memory owns its numbers: no row holds those of the tasks that came with it."""
    engine = engine_of()
    step = engine.step([an_event("a", 4), an_event("b", 4)], engine.load([an_event("a"), an_event("b")]))
    for update in step.updates:
        memory = update.entry.memory
        assert memory.untyped_storage().nbytes() == memory.numel() * memory.element_size()
