"""Forgetting: a fair sample of earlier query sets, judged at the task's own parameters."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from streammeta.engine import Engine, Progress
from streammeta.events import Batch
from streammeta.forgetting import Sample, Samples, kept
from streammeta.memories import Memories
from streammeta.tracing import Steps
from tests.networks import arrays, event, network, parts

SIZE, VISITS = 4, 40


def engine_of(algorithm: str, sets: int = 2) -> Engine:
    """An engine that keeps so many query sets a task."""
    made, chosen, _ = parts(algorithm)
    memories = Memories(lambda _: None, made.initial.new_zeros(chosen.memory_size), 10)
    steps = Steps(chosen, made)
    state = chosen.init(made.initial)
    return Engine(made, steps, state, Progress(), memories, forgetting_sets=sets)


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
    engine = engine_of(algorithm, sets=1)
    _, chosen, _ = parts(algorithm)
    draws = np.random.default_rng(3)
    first, second = (event("a", arrays(draws)) for _ in range(2))
    expected = []
    for one in (first, second):
        entry = engine.memories.get("a")
        episode = engine.network.tensors(first.episode)
        support = engine.network.tensors(one.episode).support
        if one is second:
            before = entry.memory if chosen.task_params else chosen.adapt(engine.state, support)
            expected.append(engine.network.loss(before, *episode.query).item())
        engine.keep(engine.step([one], [entry]))
        if one is first:
            after = (
                engine.memories.get("a").memory if chosen.task_params else chosen.adapt(engine.state, support)
            )
            expected.append(engine.network.loss(after, *episode.query).item())
    stats = engine.memories.get("a").stats
    assert stats.loss_earlier == pytest.approx(expected[1])
    assert stats.forgetting == pytest.approx(expected[1] - expected[0])
    assert engine.progress.prequential.forgetting.mean == pytest.approx(expected[1] - expected[0])
    assert stats.forgetting != 0.0


def test_it_changes_nothing_that_is_learned() -> None:
    """Kept or not, the parameters and the memories are the same bits."""
    draws = np.random.default_rng(5)
    events = [event("ab"[n % 2], arrays(draws)) for n in range(6)]
    with_sets, without = engine_of("moml", sets=2), engine_of("moml", sets=0)
    for engine in (with_sets, without):
        for one in events:
            engine.keep(engine.step([one], engine.load([one])))
    assert torch.equal(with_sets.state.params, without.state.params)
    assert len(with_sets.memories.get("a").samples) == 2
    assert without.memories.get("a").samples == ()
    assert math.isnan(without.progress.prequential.forgetting.mean)
    one, other = (engine.memories.get("a") for engine in (with_sets, without))
    assert torch.equal(one.memory, other.memory)
    bare = replace(one.stats, loss_earlier=math.nan, forgetting=math.nan)
    assert repr(bare) == repr(other.stats)


def test_a_network_is_at_hand() -> None:
    """The helpers of this module make what the engine takes."""
    assert network().dimension > 0
