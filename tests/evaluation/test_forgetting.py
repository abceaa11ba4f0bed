"""Forgetting: a fair sample of earlier query sets, judged at the task's own parameters."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from streammeta.algorithms.base import MetaLearner
from streammeta.evaluation.forgetting import Sample, Samples, kept
from streammeta.evaluation.prequential import Fading
from streammeta.events import Batch, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.learner.tracing import Steps
from streammeta.learner.visits import TASK_FADING
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.learning import learn, nothing_stored
from tests.networks import LEARNERS, arrays, event, network

SIZE, VISITS = 4, 40


def engine_of(algorithm: str, sets: int = 2) -> tuple[Engine, MetaLearner]:
    """An engine that keeps so many query sets a task, and its learner."""
    made = network()
    chosen = LEARNERS[algorithm](made)
    memories = Memories(nothing_stored, made.initial.new_zeros(chosen.memory_size), 10)
    engine = Engine(
        made, Steps(chosen, made), chosen.init(made.initial), Progress(), memories, forgetting_sets=sets
    )
    return engine, chosen


def test_every_visit_is_kept_as_often_as_any_other() -> None:
    """Over 3,000 tasks each of 40 visits stays in a sample of 4 some 300 times: a fair reservoir."""
    blank = Batch(np.zeros(1), np.zeros(1))
    counts: Counter[float] = Counter()
    for task in range(3000):
        samples: Samples = ()
        for visit in range(1, VISITS + 1):
            samples = kept(samples, Sample(blank, float(visit)), f"task-{task}", visit, SIZE)
        counts.update(sample.loss for sample in samples)
    expected = 3000 * SIZE / VISITS
    assert set(counts) == set(map(float, range(1, VISITS + 1)))
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 80  # 39 degrees of freedom: above 80 in one of 10,000 fair draws


@pytest.mark.parametrize("algorithm", ["moml", "maml"])
def test_an_earlier_set_is_judged_at_the_task_s_parameters(algorithm: str) -> None:
    """By hand: the loss on the first visit's query set now, less what it was right after that visit."""
    engine, chosen = engine_of(algorithm, sets=1)
    draws, blank = np.random.default_rng(3), Sample(Batch(np.zeros(1), np.zeros(1)), 0.0)
    # A task whose second visit does not take the place of its first.
    task = next(name for name in "abcdef" if kept((blank,), blank._replace(loss=1.0), name, 2, 1) == (blank,))
    first, second, third = (event(task, arrays(draws)) for _ in range(3))
    earlier = engine.network.tensors(first.episode).query

    def judged(visit: TaskEvent) -> float:
        support, memory = engine.network.tensors(visit.episode).support, engine.memories.get(task).memory
        own = chosen.adapt(engine.state, support)
        if chosen.task_params is not None:
            own = chosen.task_params(engine.state, memory)
        return engine.network.loss(own, *earlier).item()

    learn(engine, first)
    after, losses = judged(first), list[float]()
    for visit in (second, third):
        losses.append(judged(visit))
        learn(engine, visit)
    stats = engine.memories.get(task).stats
    before = (losses[1] + TASK_FADING * losses[0]) / (1 + TASK_FADING)
    assert stats.loss_earlier == pytest.approx(before)
    assert stats.forgetting == pytest.approx(before - after)
    overall = Fading().fold(losses[0] - after).fold(losses[1] - after).mean
    assert engine.progress.prequential.forgetting.mean == pytest.approx(overall)
    assert stats.forgetting != 0.0


def test_it_changes_nothing_that_is_learned() -> None:
    """Kept or not, the parameters and the memories are the same bits."""
    draws = np.random.default_rng(5)
    events = [event("ab"[n % 2], arrays(draws)) for n in range(6)]
    with_sets, without = (engine_of("moml", sets=sets)[0] for sets in (2, 0))
    for engine in (with_sets, without):
        for one in events:
            learn(engine, one)
    assert torch.equal(with_sets.state.params, without.state.params)
    assert len(with_sets.memories.get("a").samples) == 2
    assert without.memories.get("a").samples == ()
    assert math.isnan(without.progress.prequential.forgetting.mean)
    kept_sets, plain = (engine.memories.get("a") for engine in (with_sets, without))
    assert torch.equal(kept_sets.memory, plain.memory)
    bare = kept_sets.stats._replace(loss_earlier=math.nan, forgetting=math.nan)
    assert repr(bare) == repr(plain.stats)
