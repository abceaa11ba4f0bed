"""What every learner promises, on every problem."""

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.events import Batch, Episode
from tests.algorithms.learners import LEARNERS
from tests.algorithms.problems import PROBLEMS, Problem, generator

CASES = [(name, problem) for name in LEARNERS for problem in PROBLEMS]


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request: pytest.FixtureRequest) -> tuple[MetaLearner, Problem]:
    """A learner on a problem."""
    name, problem = request.param
    return LEARNERS[name](PROBLEMS[problem]), PROBLEMS[problem]


def walk(
    learner: MetaLearner, problem: Problem, *, seed: int, events: int, tasks: int = 3
) -> tuple[State, Tensor]:
    """Learn from `events` events that visit the tasks in turn; the last state and all memories."""
    draws = generator(seed)
    state = learner.init(problem.start(draws))
    memories = torch.zeros(tasks, learner.memory_size, dtype=torch.float64)
    visits = torch.zeros(tasks, dtype=torch.float64)
    for event in range(events):
        i = slice(event % tasks, event % tasks + 1)
        state, row, _ = learner.update(state, memories[i], visits[i], problem.episode(draws))
        memories = memories.clone()
        memories[i], visits[i] = row, 1
    return state, memories


def tensors(state: State) -> list[Tensor]:
    """All tensors of a state."""
    return [state.params, *state.outer.values(), *state.slots.values(), state.inner_lr, state.meta_lr]


def test_update_leaves_its_inputs_untouched(case: tuple[MetaLearner, Problem]) -> None:
    """`update` is pure: the former state, memories and episode keep their bits."""
    learner, problem = case
    draws = generator(1)
    state = learner.init(problem.start(draws))
    memory = torch.randn(1, learner.memory_size, generator=draws, dtype=torch.float64)
    episode = problem.episode(draws)
    inputs = [*tensors(state), memory, *episode.support, *episode.query]
    before = [tensor.clone() for tensor in inputs]
    after, _, _ = learner.update(state, memory, torch.ones(1, dtype=torch.float64), episode)
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))
    assert not torch.equal(after.params, state.params)


def test_same_seed_gives_the_same_bits(case: tuple[MetaLearner, Problem]) -> None:
    """Two runs over the same draws end alike, and other draws end elsewhere."""
    learner, problem = case
    one, two, other = (walk(learner, problem, seed=seed, events=9) for seed in (3, 3, 4))
    assert torch.equal(one[0].params, two[0].params)
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0].params, other[0].params)


def test_batch_of_tasks_is_the_mean_of_its_tasks(case: tuple[MetaLearner, Problem]) -> None:
    """With plain SGD steps, B tasks at once move w by the mean of what each alone would."""
    learner, problem = case
    draws = generator(5)
    state = learner.init(problem.start(draws))
    episode = problem.episode(draws, tasks=4)
    memory = torch.randn(4, learner.memory_size, generator=draws, dtype=torch.float64)
    seen = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    _, together, info = learner.update(state, memory, seen, episode)
    for i in range(4):
        one = Episode(*(Batch(batch.x[i : i + 1], batch.y[i : i + 1]) for batch in episode))
        _, alone, alone_info = learner.update(state, memory[i : i + 1], seen[i : i + 1], one)
        torch.testing.assert_close(together[i], alone[0], rtol=1e-12, atol=1e-12)
        for field in ("loss_meta", "loss_adapted", "loss_memory", "tracking_error"):
            torch.testing.assert_close(
                getattr(info, field)[i], getattr(alone_info, field)[0], rtol=1e-9, atol=1e-12, equal_nan=True
            )


def test_learning_lowers_the_adapted_loss(case: tuple[MetaLearner, Problem]) -> None:
    """After 400 events the loss after adaptation, averaged over fresh draws, fell by a tenth at least."""
    learner, problem = case
    first, _ = walk(learner, problem, seed=7, events=0)
    last, _ = walk(learner, problem, seed=7, events=400)

    def adapted(state: State) -> float:
        draws, total = generator(11), 0.0
        for _ in range(50):
            episode = problem.episode(draws)
            support = Batch(episode.support.x[0], episode.support.y[0])
            total += problem.loss(
                learner.adapt(state, support), episode.query.x[0], episode.query.y[0]
            ).item()
        return total

    assert adapted(last) < 0.9 * adapted(first)


def test_adapt_is_one_inner_step(case: tuple[MetaLearner, Problem]) -> None:
    """`adapt` gives w − α∇l(w;S), with the gradient of autograd."""
    learner, problem = case
    draws = generator(13)
    params = problem.start(draws)
    support = problem.draw(draws)
    leaf = params.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.loss(leaf, *support), leaf)
    assert gradient.norm() > 1e-3
    torch.testing.assert_close(learner.adapt(learner.init(params), support), params - 0.1 * gradient)
