"""The engine with compiled steps beside the one with traced steps: the same numbers, the same refusals."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from streammeta.errors import BadEvent
from streammeta.events import Batch, Episode, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.learner.executors.cache import Cache
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.serving import Executors
from streammeta.learner.folded import Folded
from streammeta.learner.tracing import Steps
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.compiled_steps import AtHand, compiled_once
from tests.learning import learn, nothing_stored
from tests.networks import LEARNERS, classifier, event, labelled

BATCH = 2


@cache
def steps() -> Steps:
    """MOML on a classifier, traced once."""
    return Steps(LEARNERS["moml"](classifier()), classifier())


@pytest.fixture(scope="module")
def directory(compiled_directory: Path) -> Path:
    """Where its step for two events at once is."""
    learner, net = LEARNERS["moml"](classifier()), classifier()
    sets = [
        Batch(torch.zeros(BATCH, n, 2, dtype=torch.float64), torch.zeros(BATCH, n, dtype=torch.int64))
        for n in (4, 3)
    ]
    compiled_once(compiled_directory, steps(), learner.init(net.initial), Episode(*sets))
    return compiled_directory


def engine(compiled: CompiledSteps | None = None) -> Engine:
    """A new engine."""
    net = classifier()
    learner = LEARNERS["moml"](net)
    memories = Memories(nothing_stored, net.initial.new_zeros(learner.memory_size), 100)
    executors = Executors(steps(), compiled)
    return Engine(net, steps(), learner.init(net.initial), Progress(), memories, executors=executors)


def stream(events: int) -> list[TaskEvent]:
    """Events of five tasks in turn."""
    draws = np.random.default_rng(5)
    return [event("abcde"[n % 5], labelled(draws), 1000 * n) for n in range(events)]


def switched(one: Engine) -> list[str]:
    """Let take over what can; as the loop does between two polls."""
    names = one.executors.look()
    for name in names:
        one.executors.switch(name)
    return names


def pairs(events: list[TaskEvent]) -> list[tuple[TaskEvent, TaskEvent]]:
    """Two by two."""
    return list(zip(events[::2], events[1::2], strict=True))


def numbers(folded: list[Folded]) -> np.ndarray:
    """All that is told of the events, a row each."""
    return np.concatenate([np.concatenate([one.numbers, one.judged, one.means], axis=1) for one in folded])


def test_batches_of_a_classifier_equal_the_plain_loop(directory: Path) -> None:
    """B = 2, compiled from the second iteration on: losses, accuracies, norms, state and rows to 1e-5."""
    plain, compiled = engine(), engine(AtHand(Cache(directory)))
    (first, *rest) = pairs(stream(60))
    told = {one: [learn(one, *first)] for one in (plain, compiled)}
    assert len(switched(compiled)) == 1
    assert not switched(plain)
    for one, folded in told.items():
        folded += [learn(one, *pair) for pair in rest]
    accuracies = told[plain][-1].judged[:, 4:7]
    assert ((accuracies > 0) & (accuracies < 1)).any()
    np.testing.assert_allclose(numbers(told[compiled]), numbers(told[plain]), rtol=1e-5, atol=1e-5)
    assert not np.array_equal(numbers(told[compiled]), numbers(told[plain]))
    torch.testing.assert_close(compiled.state, plain.state, rtol=1e-5, atol=1e-5)
    rows, expected = (one.memories.dirty().rows() for one in (compiled, plain))
    for task, row in expected.items():
        found = rows[task]
        assert row is not None
        assert found is not None
        assert found.stats.events == row.stats.events
        mine, theirs = np.frombuffer(found.memory), np.frombuffer(row.memory)
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_class_that_the_model_does_not_know_is_refused(directory: Path) -> None:
    """By the compiled step as by the traced one, which would read past the logits; nothing changes."""
    one = engine(AtHand(Cache(directory)))
    (first, second) = pairs(stream(4))
    learn(one, *first)
    assert switched(one)
    before = one.state.params
    bad = second[0].episode.query.y.copy()
    bad[1] = 3
    episode = second[0].episode._replace(query=Batch(second[0].episode.query.x, bad))
    with pytest.raises(BadEvent, match="class 3; the model knows 0 to 2"):
        learn(one, event(second[0].task, episode), second[1])
    assert torch.equal(one.state.params, before)
    learn(one, *second)
    assert not torch.equal(one.state.params, before)


def test_a_step_that_differs_from_the_plain_one_never_serves(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, once, and the traced step serves to the bits of an engine without compiled steps."""
    plain, doubtful = engine(), engine(AtHand(Cache(directory)))
    load = CompiledSteps._load

    def wrong(self: CompiledSteps, library: object) -> object:
        compiled = load(self, library)  # type: ignore[arg-type]  # whatever it was called with

        def run(chunk: list[torch.Tensor]) -> None:
            compiled.run(chunk)
            chunk[0].mul_(1.001)

        return compiled._replace(run=run)

    monkeypatch.setattr(CompiledSteps, "_load", wrong)
    with capture_logs() as told:
        for pair in pairs(stream(12)):
            assert not switched(doubtful)
            for one in (plain, doubtful):
                learn(one, *pair)
    assert [line["event"] for line in told] == ["step not compiled"]
    assert "another meta-parameters" in told[0]["reason"]
    assert torch.equal(doubtful.state.params, plain.state.params)
    assert not doubtful.executors.names
