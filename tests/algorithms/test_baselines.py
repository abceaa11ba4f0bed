"""The baselines against torch.optim on the same examples."""

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.baselines import independent, online_sgd
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.schedules import scheduled
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, Problem, generator

F64 = torch.float64
ALPHA, ETA, MU = 0.1, 0.05, 0.9


def uneven(problem: Problem, draws: torch.Generator) -> Episode[Tensor]:
    """An episode with more support than query examples, so that a mean of two means shows."""
    support, query = problem.episode(draws)
    return Episode(support, Batch(query.x[:, :2], query.y[:, :2]))


def examples(episode: Episode[Tensor]) -> Batch[Tensor]:
    """All examples of its only task."""
    return Batch(*(torch.cat([s[0], q[0]]) for s, q in zip(*episode, strict=True)))


class Reference:
    """A model trained by torch.optim.SGD with momentum."""

    def __init__(self, params: Tensor) -> None:
        self.leaf = params.clone().requires_grad_()
        self.optimiser = torch.optim.SGD([self.leaf], lr=ETA, momentum=MU)

    def learn(self, problem: Problem, batch: Batch[Tensor]) -> None:
        """One step."""
        (self.leaf.grad,) = torch.autograd.grad(problem.loss(self.leaf, *batch), self.leaf)
        self.gradient_norm = self.leaf.grad.norm()
        assert self.gradient_norm > 1e-6
        self.optimiser.step()


def test_online_sgd_is_sgd_on_all_examples() -> None:
    """It follows torch.optim.SGD on the joined sets, whatever the tasks."""
    problem, draws = PROBLEMS["sinusoid"], generator(1)
    learner = online_sgd(problem.loss, sgd(momentum=MU), inner_lr=ALPHA, meta_lr=ETA)
    state = learner.init(problem.start(draws))
    reference = Reference(state.params)
    for _ in range(50):
        episode = uneven(problem, draws)
        state, _, info = learner.update(
            state, torch.zeros(1, 0, dtype=F64), torch.ones(1, dtype=F64), episode
        )
        assert info.loss_memory.isnan().all()
        reference.learn(problem, examples(episode))
        torch.testing.assert_close(state.params, reference.leaf.detach(), rtol=1e-11, atol=1e-12)


def test_independent_trains_each_task_on_its_own_data() -> None:
    """Each task follows its own torch.optim.SGD from the common start, at its own visits; w keeps its bits.

    The memory loss is that of the task's model before the event, unknown at a first visit; the others are
    those at w.
    """
    problem, draws, tasks = PROBLEMS["sinusoid"], generator(2), 3
    learner = independent(problem.loss, sgd(momentum=MU), dimension=25, inner_lr=ALPHA, meta_lr=ETA)
    assert learner.memory_size == 50
    state = learner.init(problem.start(draws))
    start = state.params.clone()
    references = [Reference(start) for _ in range(tasks)]
    rows, seen = torch.full((tasks, 50), 9.0, dtype=F64), torch.zeros(tasks, dtype=F64)
    assert learner.task_params
    for event in range(60):
        i = int(torch.randint(tasks, (), generator=draws)) if event > tasks else event % tasks
        episode = uneven(problem, draws)
        state, moved, info = learner.update(state, rows[i : i + 1], seen[i : i + 1], episode)
        support, query = (Batch(batch.x[0], batch.y[0]) for batch in episode)
        if seen[i]:
            torch.testing.assert_close(info.loss_memory[0], problem.loss(references[i].leaf.detach(), *query))
        else:
            assert info.loss_memory.isnan().all()
        torch.testing.assert_close(info.loss_meta[0], problem.loss(start, *query))
        torch.testing.assert_close(info.loss_adapted[0], problem.loss(learner.adapt(state, support), *query))
        rows[i], seen[i] = moved[0], 1.0
        references[i].learn(problem, examples(episode))
        torch.testing.assert_close(info.gradient_norm, references[i].gradient_norm)
        own = learner.task_params(state, moved[0])
        torch.testing.assert_close(own, references[i].leaf.detach(), rtol=1e-11, atol=1e-12)
        assert torch.equal(state.params, start)
        assert info.update_norm == 0


def test_independent_without_momentum_keeps_parameters_alone() -> None:
    """The memory is what the optimiser needs and no more."""
    loss = PROBLEMS["quadratic"].loss
    assert independent(loss, sgd(), dimension=5, inner_lr=ALPHA, meta_lr=ETA).memory_size == 5


def test_the_count_of_visits_of_a_task_goes_on_in_single_precision() -> None:
    """A schedule counts a task's visits one by one, also past 2²⁴, where float32 has no odd numbers."""
    problem, draws = PROBLEMS["quadratic"], generator(4)
    flip = scheduled(sgd(), lambda count: count - 2**24)
    learner = independent(problem.loss, flip, dimension=5, inner_lr=ALPHA, meta_lr=ETA)
    episode = Episode(*(Batch(batch.x.float(), batch.y.float()) for batch in problem.episode(draws)))
    state = learner.init(problem.start(draws).float())
    row = torch.cat([state.params, torch.tensor([16.0, 0.0])]).unsqueeze(0)
    assert learner.memory_size == row.shape[1]
    lengths = []
    for _ in range(3):
        before = row
        _, row, info = learner.update(state, row, torch.ones(1), episode)
        lengths.append(((before - row)[0, :5].norm() / (ETA * info.gradient_norm)).item())
    assert lengths == pytest.approx([0, 1, 2], rel=1e-3)
