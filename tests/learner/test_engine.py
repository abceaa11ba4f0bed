"""The engine: one event moves the meta-state and its own task, or nothing at all."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import sgd
from streammeta.errors import BadEvent, Reason
from streammeta.evaluation.prequential import Scores
from streammeta.events import Array, Episode, TaskEvent, episode_of
from streammeta.learner.engine import Engine
from streammeta.learner.folded import Folded
from streammeta.learner.tracing import Steps
from streammeta.learner.visits import TASK_FADING
from streammeta.learner.visits import faded as faded_mean
from streammeta.models.network import Network
from streammeta.state.memories import Entry, Memories
from streammeta.state.progress import Progress
from streammeta.state.rows import Packed
from streammeta.state.store import TaskStats
from tests.learning import learn, nothing_stored
from tests.networks import LEARNERS, arrays, classifier, event, labelled, network, stacked


@cache
def parts(learner: str, dtype: str = "float64") -> tuple[Network, MetaLearner, Steps]:
    """Traced once for all tests."""
    made = network(dtype=dtype)
    chosen = LEARNERS[learner](made)
    return made, chosen, Steps(chosen, made)


def engine_of(learner: str = "moml", dtype: str = "float64") -> Engine:
    """A new engine without a store."""
    made, chosen, steps = parts(learner, dtype)
    memories = Memories(nothing_stored, made.initial.new_zeros(chosen.memory_size), 100)
    return Engine(made, steps, chosen.init(made.initial), Progress(), memories)


def snapshot(engine: Engine) -> tuple[bytes, str, Mapping[str, Packed | None]]:
    """All that is state, byte for byte."""
    state = engine.state
    tensors = (state.params, *state.outer.values(), *state.slots.values(), state.inner_lr, state.meta_lr)
    raw = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    return raw, repr(engine.progress), engine.memories.dirty().rows().packed


def stream(seed: int, tasks: Sequence[str]) -> list[TaskEvent]:
    """Events of these tasks, at 1000 ms and so on."""
    draws = np.random.default_rng(seed)
    return [event(task, arrays(draws), 1000 * (n + 1)) for n, task in enumerate(tasks)]


def test_a_trial_changes_nothing() -> None:
    """An event that was only tried: all keeps its bits, and it can still be learned."""
    engine, undisturbed = engine_of(), engine_of()
    for each in (engine, undisturbed):
        learn(each, *stream(1, ["a"]))
    before = snapshot(engine)
    for only_tried in (True, False):
        (placed,) = [engine.place(one) for one in stream(2, ["a"])]
        engine.load(["a"])
        assert engine.refusal(placed) is None
        if not only_tried:
            engine.learn([placed])
        assert (engine.fold(["a"]) is None) == only_tried
        assert (repr(snapshot(engine)) == repr(before)) == only_tried
    learn(undisturbed, *stream(2, ["a"]))
    assert repr(snapshot(engine)) == repr(snapshot(undisturbed))


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 7], [12], [2, 1, 6, 3]])
def test_how_a_stream_is_cut_into_chunks_means_nothing(sizes: list[int]) -> None:
    """The same events in other chunks, shapes in turn: the same bits, told and kept."""
    draws = np.random.default_rng(17)
    events = [event("abcd"[n % 3], arrays(draws, support=2 + n % 2), 1000 * n) for n in range(12)]
    answer = engine_of()
    alone = [learn(answer, one) for one in events]
    engine, left, told = engine_of(), list(events), []
    for size in sizes:
        chunk, left = left[:size], left[size:]
        tasks = [one.task for one in chunk]
        placed = [engine.place(one) for one in chunk]
        engine.load(tasks)
        for one in placed:
            engine.learn([one])
        told.append(engine.fold(tasks))
    assert repr(snapshot(engine)) == repr(snapshot(answer))
    for name in ("numbers", "judged", "means"):
        columns = np.concatenate([getattr(folded, name) for folded in told])
        np.testing.assert_array_equal(columns, np.concatenate([getattr(one, name) for one in alone]))
    for place in range(3):
        columns = np.concatenate([folded.visits[place] for folded in told if folded])
        np.testing.assert_array_equal(columns, np.concatenate([one.visits[place] for one in alone]))


@pytest.mark.parametrize("kind", [arrays, labelled])
def test_a_chunk_that_is_learned_as_it_comes(kind: Callable[[np.random.Generator], Episode[Array]]) -> None:
    """Events placed after others were learned, more than there was room for: told and kept as at once."""
    made = classifier() if kind is labelled else network()
    chosen, draws = LEARNERS["moml"](made), np.random.default_rng(23)
    steps = Steps(chosen, made)
    events = [event(f"task-{n % 70}", kind(draws), 1000 * n) for n in range(90)]
    spoilt = events[33].episode.query.y
    spoilt[1] = math.nan if kind is arrays else 7

    def learned_in(cuts: Sequence[int]) -> tuple[Engine, Folded]:
        memories = Memories(nothing_stored, made.initial.new_zeros(chosen.memory_size), 100)
        engine = Engine(made, steps, chosen.init(made.initial), Progress(), memories)
        for begin, end in pairwise((0, *cuts, len(events))):
            placed = [engine.place(one) for one in events[begin:end]]
            engine.load([one.task for one in events[begin:end]])
            for one in placed:
                with pytest.raises(BadEvent) if one.event is events[33] else nullcontext():
                    engine.learn([one])
        folded = engine.fold({one.task for one in events})
        assert folded is not None
        return engine, folded

    (whole, at_once), (pieces, bit_by_bit) = learned_in(()), learned_in((1, 2, 16, 33, 34, 80))
    assert repr(snapshot(whole)) == repr(snapshot(pieces))
    for name in ("numbers", "judged", "means"):
        np.testing.assert_array_equal(getattr(bit_by_bit, name), getattr(at_once, name))
    assert len(at_once.predictions) == (89 if kind is labelled else 0)
    for one, other in zip(bit_by_bit.predictions, at_once.predictions, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_event_moves_its_own_task_alone() -> None:
    """The other tasks' rows stay as they are, to the byte."""
    engine = engine_of()
    for one in stream(3, ["a", "b", "c"]):
        learn(engine, one)
    before = engine.memories.dirty().rows()
    learn(engine, *stream(4, ["b"]))
    after = engine.memories.dirty().rows()
    assert {task for task in after if repr(after[task]) != repr(before[task])} == {"b"}


@pytest.mark.parametrize("learner", ["moml", "maml"])
def test_an_update_that_is_not_finite_leaves_everything(learner: str) -> None:
    """A wild rate: the event is refused as non_finite_update, and it is as if it had never come."""
    engine, undisturbed = engine_of(learner), engine_of(learner)
    for each in (engine, undisturbed):
        learn(each, *stream(5, ["a"]))
    engine.set_rates(1e300, 0.05)
    before = snapshot(engine)
    (bad,) = stream(6, ["a"])
    with pytest.raises(BadEvent, match=r"adaptation .* is not finite.*algorithm\.inner_clip_norm") as refused:
        learn(engine, bad)
    assert (refused.value.reason, refused.value.stage) == (Reason.NON_FINITE_UPDATE, "step")
    assert repr(snapshot(engine)) == repr(before)
    engine.set_rates(0.1, 0.05)
    for each in (engine, undisturbed):
        learn(each, *stream(7, ["b"]))
    assert repr(snapshot(engine)) == repr(snapshot(undisturbed))


def test_finite_data_that_overflow_the_loss_are_refused() -> None:
    """1e30 squared is beyond float32, though the number itself is not."""
    engine = engine_of(dtype="float32")
    support, query = arrays(np.random.default_rng(8))
    with pytest.raises(BadEvent) as refused:
        learn(engine, event("a", episode_of(*support, query.x, query.y + 1e30)))
    assert "the loss on this record is not finite" in str(refused.value)
    assert refused.value.reason == Reason.NON_FINITE_UPDATE
    assert (engine.progress, len(engine.memories)) == (Progress(), 0)


@pytest.mark.parametrize("learner", ["moml", "maml"])
def test_a_batch_of_tasks_is_one_meta_update(learner: str) -> None:
    """Three tasks at once: the learner's own answer, each task's row, and three events counted in order."""
    engine = engine_of(learner)
    learn(engine, *stream(9, ["b"]))
    state, progress = engine.state, engine.progress
    events = stream(10, ["a", "b", "c"])
    entries = [engine.memories.get(one.task) for one in events]
    made, chosen, _ = parts(learner)
    with torch.no_grad():
        expected, moved, info = chosen.update(
            state,
            torch.stack([entry.memory for entry in entries]),
            torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64),
            stacked(*(made.tensors(one.episode) for one in events)),
        )
    folded = learn(engine, *events)
    torch.testing.assert_close(engine.state.params, expected.params, rtol=1e-12, atol=1e-14)
    assert not torch.equal(engine.state.params, state.params)
    assert engine.progress.events == progress.events + 3
    assert list(folded.events) == events
    for n, one in enumerate(events):
        stats = engine.memories.get(one.task).stats
        torch.testing.assert_close(engine.memories.get(one.task).memory, moved[n], rtol=1e-12, atol=1e-14)
        assert folded.judged[n, 0] == pytest.approx(info.loss_meta[n].item(), rel=1e-12)
        assert folded.judged[n, 1] == pytest.approx(info.loss_adapted[n].item(), rel=1e-12)
        assert stats.last_event == 2 + n
        assert stats.events == (2 if one.task == "b" else 1)
    assert np.isnan(folded.judged[:, 2]).tolist() == (
        [True, False, True] if learner == "moml" else [True] * 3
    )


def faded(values: Sequence[float], factor: float) -> float:
    """The fading mean by its definition: weights λ^age, over their sum."""
    weights = [factor ** (len(values) - 1 - i) for i in range(len(values))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def test_task_statistics() -> None:
    """Counts, when a task was last seen, and its fading losses by their definition after every visit."""
    engine = engine_of()
    tasks = ["a", "b", "a", "a", "c", "b", "a"]
    told: dict[str, list[tuple[float, float, float]]] = {}
    for n, one in enumerate(stream(11, tasks)):
        folded = learn(engine, one)
        visits = told.setdefault(one.task, [])
        last = max((i for i in range(n) if tasks[i] == one.task), default=math.nan)
        np.testing.assert_equal(folded.visits.staleness, [n - last])
        assert folded.visits.counts.tolist() == [len(visits) + 1]
        visits.append(tuple(folded.judged[0, :3].tolist()))
        stats = engine.memories.get(one.task).stats
        assert (stats.events, stats.last_event, stats.last_seen_ms) == (len(visits), n + 1, 1000 * (n + 1))
        meta, adapted, memory = zip(*visits, strict=True)
        assert stats.loss_meta == pytest.approx(faded(meta, TASK_FADING), rel=1e-12)
        assert stats.loss_adapted == pytest.approx(faded(adapted, TASK_FADING), rel=1e-12)
        if len(visits) == 1:
            assert math.isnan(stats.loss_memory)
            assert stats.loss == stats.loss_adapted
        else:
            assert stats.loss == pytest.approx(faded(memory[1:], TASK_FADING), rel=1e-12)


def test_prequential_means_are_those_of_all_events() -> None:
    """The stream's means by their definition, first visits left out where the memory is unknown."""
    engine = engine_of()
    losses, errors = [], []
    for one in stream(12, ["a", "b", "a", "b", "a"]):
        judged = learn(engine, one).judged
        losses.append(Scores(*judged[0, :3].tolist()))
        errors.append(judged[0, 3])
    means = engine.progress.prequential
    assert means.meta.mean == pytest.approx(faded([x.meta for x in losses], 0.99), rel=1e-12)
    assert means.adapted.mean == pytest.approx(faded([x.adapted for x in losses], 0.99), rel=1e-12)
    assert means.memory.mean == pytest.approx(faded([x.memory for x in losses[2:]], 0.99), rel=1e-12)
    assert means.tracking_error.mean == pytest.approx(faded(errors, 0.99), rel=1e-12)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60))
def test_a_tasks_fading_mean_is_the_definition_after_every_visit(values: list[float]) -> None:
    """Moving the mean by (x − mean)/N, with N from the count alone, is the weighted mean."""
    mean = math.nan
    for n, value in enumerate(values):
        mean = faded_mean(mean, value, n)
        assert mean == pytest.approx(faded(values[: n + 1], TASK_FADING), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_spoils_no_mean(bad: float) -> None:
    """It is left out: the mean before it stands, and values after it count again."""
    assert faded_mean(3.0, bad, 4) == 3.0
    assert math.isnan(faded_mean(math.nan, bad, 0))
    assert faded_mean(faded_mean(math.nan, bad, 0), 2.0, 1) == 2.0


def test_a_memory_whose_loss_overflows_spoils_no_mean() -> None:
    """A memory far away has an infinite loss in float32; the event replaces it, and all means stay finite."""
    made = network("streammeta.models:linear", {"inputs": 2}, dtype="float32")
    chosen = moml(made.loss, sgd(), dimension=made.dimension, inner_lr=0.1, meta_lr=0.05, beta=1.0)
    memories = Memories(nothing_stored, made.initial.new_zeros(made.dimension), 10)
    engine = Engine(made, Steps(chosen, made), chosen.init(made.initial), Progress(), memories)
    one, two, three = stream(13, ["a"] * 3)
    learn(engine, one)
    memories.put("a", Entry(memories.get("a").stats, torch.full((3,), 1e30)))
    assert learn(engine, two).judged[0, 2] == math.inf
    learn(engine, three)
    assert math.isfinite(memories.get("a").stats.loss_memory)
    assert 0 < engine.progress.prequential.memory.mean < 100


def test_rates_take_effect_at_the_next_event() -> None:
    """A new meta rate scales the very next move, a new inner rate the next memory."""
    plain, changed = engine_of("fo-maml"), engine_of("fo-maml")
    (one,) = stream(14, ["a"])
    start = plain.state.params
    changed.set_rates(0.1, 0.5)
    assert (changed.inner_lr, changed.meta_lr) == (0.1, 0.5)
    learn(plain, one)
    learn(changed, one)
    torch.testing.assert_close(changed.state.params - start, 10 * (plain.state.params - start))
    one_memory, other = engine_of(), engine_of()
    other.set_rates(0.0, 0.05)
    learn(one_memory, one)
    learn(other, one)
    assert torch.equal(other.memories.get("a").memory, start)
    assert not torch.equal(one_memory.memories.get("a").memory, start)


def test_last_seen_is_the_events_own_time() -> None:
    """Also when events come out of the order of their times."""
    engine = engine_of()
    draws = np.random.default_rng(15)
    for time_ms in (5000, 3000):
        learn(engine, event("a", arrays(draws), time_ms))
    assert engine.memories.get("a").stats.last_seen_ms == 3000


def test_an_unknown_task_begins_empty() -> None:
    """No statistics, a memory of zeros."""
    entry = engine_of().memories.get("new")
    assert repr(entry.stats) == repr(TaskStats())
    assert not entry.memory.any()
