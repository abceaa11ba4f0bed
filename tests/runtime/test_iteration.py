"""An iteration is learned as a whole, but for the events that are to blame when it is refused."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import Info, MetaLearner, State
from streammeta.errors import BadEvent, Reason
from streammeta.events import Batch, Episode, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.learner.tracing import Steps
from streammeta.runtime.iteration import iterate, place
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.learner.test_engine import parts, snapshot
from tests.learning import learn, nothing_stored
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
    memories = Memories(nothing_stored, made.initial.new_zeros(chosen.memory_size), 100)
    return Engine(made, steps, chosen.init(made.initial), Progress(), memories)


def changed(one: TaskEvent, factor: float) -> TaskEvent:
    """The event with its query's y multiplied."""
    (x, y), query = one.episode
    return event(one.task, Episode(Batch(x, y), Batch(query.x, query.y * factor)))


def run_iteration(engine: Engine, *reads: TaskEvent | BadEvent) -> list[Reason | None]:
    """Reasons of the refused; None for the learned."""
    items = [place(engine, read) for read in reads]
    tasks = [read.task for read in reads if isinstance(read, TaskEvent)]
    engine.load(tasks)
    results = iterate(engine, items)
    engine.fold(tasks)
    return [result.reason if isinstance(result, BadEvent) else None for result in results]


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


def test_whole_and_real_numbers_are_learned_together() -> None:
    """Where the model wants real x, events that brought whole numbers are stacked with the others."""
    real = [event(task, arrays(np.random.default_rng(ord(task)))) for task in "ab"]
    (x, y), query = real[0].episode
    rounded = Episode(Batch(np.rint(10 * x), y), Batch(np.rint(10 * query.x), query.y))
    whole = Episode(*(Batch(batch.x.astype(np.int64), batch.y) for batch in rounded))
    mixed, answer = engine_of(), engine_of()
    assert run_iteration(mixed, event("a", whole), real[1]) == [None, None]
    assert run_iteration(answer, event("a", rounded), real[1]) == [None, None]
    assert repr(snapshot(mixed)) == repr(snapshot(answer))


def test_events_are_counted_one_by_one() -> None:
    """Means and counts are those after each event of the iteration; its norms are the iteration's."""
    engine = engine_of()
    folded = learn(engine, an_event("a"), event("b", arrays(np.random.default_rng(5), support=2)))
    assert [one.task for one in folded.events] == ["a", "b"]
    assert (folded.progress, folded.progress.events) == (engine.progress, 2)
    assert folded.means[0, 0] == folded.judged[0, 0]
    assert folded.means[1, 0] == engine.progress.prequential.meta.mean != folded.means[0, 0]
    assert len(set(folded.column("gradient_norm").tolist())) == 1
