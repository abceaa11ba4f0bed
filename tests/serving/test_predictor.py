"""Many predictions at once are those of each alone, for every algorithm and for models that resist."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from streammeta.algorithms.base import MetaLearner, State
from streammeta.errors import NoAnswer
from streammeta.events import Array, Batch
from streammeta.models.network import Network
from streammeta.serving.asking import Ask, At, Kind, Known
from streammeta.serving.eager import Eager
from streammeta.serving.functions import TRACED_AT
from streammeta.serving.predictor import Predictor
from tests.networks import LEARNERS, classifier, network


@dataclass
class Seen:
    """A `View` made by hand."""

    state: State
    events: int = 7
    tasks: Mapping[str, Known] = field(default_factory=dict)

    def task(self, task: str) -> Known | None:
        """As made."""
        return self.tasks.get(task)


class Recurrent(nn.Module):
    """An LSTM, which no map over tasks can take."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(1, 2, batch_first=True), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Of the last step."""
        prediction: Tensor = self.head(self.cells(x[:, :, None])[0][:, -1])
        return prediction


def batch_norm() -> nn.Module:
    """A model of which every example's output depends on all examples."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 1))


def seen(made: Network, learner: MetaLearner, tasks: int = 5) -> Seen:
    """A state away from the first, and tasks with memories and examples."""
    draws = np.random.default_rng(11)
    state = learner.init(made.initial + 0.1)
    known = {}
    for number in range(tasks):
        memory = draws.normal(size=learner.memory_size)
        examples = Batch(draws.normal(size=(4, 2)), draws.normal(size=(4, 1)))
        known[f"t{number}"] = Known(number + 1, memory, examples if number % 2 else None)
    return Seen(state, tasks=known)


def right(made: Network, learner: MetaLearner, view: Seen, ask: Ask, kind: Kind) -> Array:
    """The prediction of one, by the learner's own functions."""
    state, known = view.state, view.tasks.get(ask.task)
    params = state.params
    if kind == "memory":
        assert known is not None
        assert learner.task_params is not None
        params = learner.task_params(state, torch.from_numpy(known.memory))
    if kind == "adapted":
        support = ask.support or (known.examples if known else None)
        assert support is not None
        x, y = made.x_numbers(support.x[-2:]), made.y_numbers(support.y[-2:])
        params = learner.adapt(state, Batch(torch.from_numpy(x), torch.from_numpy(y)))
    with torch.no_grad():
        found: Array = made.predict(params, torch.from_numpy(made.x_numbers(ask.x))).numpy()
    return found


def predictor(made: Network, learner: MetaLearner) -> Predictor:
    """Adapts on the newest two examples of a buffer."""
    return Predictor(made, learner, support=2, max_examples=50)


@pytest.mark.parametrize("name", ["moml", "maml"])
def test_together_as_alone(name: str) -> None:
    """Asked at everything at once, in two shapes, eagerly and traced: the numbers of each alone, in order."""
    made = network()
    learner = LEARNERS[name](made)
    view, draws = seen(made, learner), np.random.default_rng(1)
    kinds: list[At] = ["meta", "adapted", "auto"]
    if learner.task_params:
        kinds.append("memory")
    asks = [
        Ask(task, draws.normal(size=(1 + number % 2, 2)), at=at)
        for number, task in enumerate([*view.tasks] * 3)
        for at in kinds
        if at != "adapted" or view.tasks[task].examples
    ]
    asks.append(Ask("new", draws.normal(size=(1, 2))))
    found = predictor(made, learner)
    for _ in range(TRACED_AT + 1):
        answers = found.predict(view, asks)
        for ask, answer in zip(asks, answers, strict=True):
            np.testing.assert_allclose(
                answer.y, right(made, learner, view, ask, answer.at), rtol=1e-9, atol=1e-12
            )
    remembered = "memory" if learner.task_params else "meta"
    at = {ask.task: answer.at for ask, answer in zip(asks, answers, strict=True) if ask.at == "auto"}
    assert at == {"t0": remembered, "t1": "adapted", "t2": remembered, "t3": "adapted", "t4": remembered} | {
        "new": "meta"
    }
    assert len({answer.y.tobytes() for answer in answers}) > len(asks) / 2


def test_nobody_waits_for_a_trace_that_is_made_aside() -> None:
    """While a thread traces, with its own functions, eager ones answer; then the trace, bit for bit."""
    made = network()
    learner = LEARNERS["moml"](made)
    begin, begun = threading.Event(), threading.Event()

    def spare() -> Eager:
        begun.set()
        assert begin.wait(60)
        other = network()
        return Eager(other, LEARNERS["moml"](other))

    found, view = Predictor(made, learner, support=2, max_examples=50, spare=spare), seen(made, learner)
    ask = [Ask("t0", np.ones((3, 2)), at="memory")]
    answers = [found.predict(view, ask)[0].y.tobytes() for _ in range(TRACED_AT + 2)]
    (prepared,) = found._functions._shapes.values()
    assert begun.wait(60)
    assert not prepared.traced
    begin.set()
    tracing = next(thread for thread in threading.enumerate() if thread.name == "tracing")
    tracing.join(60)
    assert isinstance(prepared.traced[1], GraphModule)
    assert {*answers, found.predict(view, ask)[0].y.tobytes()} == {answers[0]}


@pytest.mark.parametrize("factory", [Recurrent, batch_norm])
def test_models_that_resist(factory: type[nn.Module]) -> None:
    """One that no map can take, and one whose examples are not independent: fillings change nothing."""
    made = network(f"{factory.__module__}:{factory.__name__}")
    learner = LEARNERS["fo-maml"](made)
    view, draws = seen(made, learner), np.random.default_rng(2)
    support = Batch(draws.normal(size=(2, 2)), draws.normal(size=(2, 1)))
    asks = [Ask("new", draws.normal(size=(3, 2)), support if number % 2 else None) for number in range(4)]
    for ask, answer in zip(asks, predictor(made, learner).predict(view, asks), strict=True):
        wanted = right(made, learner, view, ask, answer.at)
        np.testing.assert_allclose(answer.y, wanted, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_had_is_named() -> None:
    """The first that would be refused alone: a class that the model has not, a token, too many examples."""
    made = classifier()
    learner = LEARNERS["moml"](made)
    x, good = np.ones((1, 2)), Batch(np.ones((2, 2)), np.array([0, 2]))
    bad = Batch(np.ones((2, 2)), np.array([0, 3]))
    found, view = predictor(made, learner), Seen(learner.init(made.initial))
    answers = found.predict(view, [Ask("a", x, good)] * 2)
    assert answers[0].y.shape == (1, 3)
    for asks, number, where, reason in (
        ([Ask("a", x, good), Ask("b", x, good), Ask("c", x, bad)], 2, "support.y", "bad_tensor"),
        ([Ask("a", x), Ask("b", np.ones((51, 2)))], 1, "x", "too_large"),
        ([Ask("a", x), Ask("b", x, at="memory")], 1, "at", "no_memory"),
        ([Ask("a", x, at="adapted")], 0, "support", "no_support"),
        ([Ask("a", x), Ask("b", np.array([[np.nan, 1]]))], 1, "x", "non_finite_input"),
    ):
        with pytest.raises(NoAnswer) as refusal:
            found.predict(view, asks)
        assert (refusal.value.number, refusal.value.field, refusal.value.reason) == (number, where, reason)
    tokens = network("tests.networks:embedded")
    found, learner = predictor(tokens, LEARNERS["maml"](tokens)), LEARNERS["maml"](tokens)
    view = Seen(learner.init(tokens.initial))
    known = Ask("a", np.array([[0, 4]]))
    for _ in range(TRACED_AT + 1):
        with pytest.raises(NoAnswer) as refusal:
            found.predict(view, [known, Ask("b", np.array([[0, 5]])), known])
        assert (refusal.value.number, refusal.value.field) == (1, "x")
    assert np.array_equal(found.predict(view, [known])[0].y, right(tokens, learner, view, known, "meta"))
