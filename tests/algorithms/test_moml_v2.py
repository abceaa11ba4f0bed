"""MOML v2 in its O(d) form against the literal one (algorithms chapter 1.6, facts 3 and 4)."""

from typing import Any

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.algorithms.moml import OuterScale, moml
from streammeta.algorithms.moml_v2 import moml_v2
from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, generator
from tests.algorithms.traced import traced

F64 = torch.float64
ALPHA, ETA, MU = 0.03, 0.05, 0.5


class Literal:
    """The update rules as they stand: n memories of d numbers, all written at every iteration.

    On the quadratic problem, with gradients and Hessians in closed form.
    """

    def __init__(self, params: Tensor, tasks: int, beta: float) -> None:
        self.params, self.beta = params.clone(), beta
        self.memories = params.repeat(tasks, 1)
        self.momentum = torch.zeros_like(params)

    def learn(self, arrived: list[int], count: int, episode: Episode[Tensor]) -> None:
        """One iteration over the tasks that `arrived`, `count` of them known."""
        w, directions = self.params, []
        target = w.repeat(len(self.memories), 1)
        for place, task in enumerate(arrived):
            a, centre = episode.support.x[place], episode.support.y[place]
            target[task] = w - count / len(arrived) * ALPHA * (a * (w - centre)).mean(0)
        self.memories = (1 - self.beta) * self.memories + self.beta * target
        for place, task in enumerate(arrived):
            b, goal = episode.query.x[place], episode.query.y[place]
            outward = (b * (self.memories[task] - goal)).mean(0)
            directions.append((1 - ALPHA * episode.support.x[place].mean(0)) * outward)
        self.momentum = MU * self.momentum + torch.stack(directions).mean(0)
        self.params = w - ETA * self.momentum


@pytest.mark.parametrize("known", [None, 12])
@pytest.mark.parametrize(("together", "beta"), [(1, 0.1), (3, 0.25), (1, 1.0)])
def test_it_equals_the_literal_form(together: int, beta: float, known: int | None) -> None:
    """Fact 3: over 1,000 random events w, and the memory of every task, absent ones too, agree to 1e-12.

    Some tasks come early, some first after hundreds of events.
    """
    problem, draws, tasks = PROBLEMS["quadratic"], generator(1), 12
    learner = moml_v2(
        problem.loss,
        sgd(momentum=MU),
        dimension=5,
        inner_lr=ALPHA,
        meta_lr=ETA,
        beta=beta,
        tasks=known,
    )
    params = problem.start(draws)
    state, literal = learner.init(params), Literal(params, tasks, beta)
    rows = torch.full((tasks, learner.memory_size), 7.0, dtype=F64)  # what a first visit must not read
    seen = torch.zeros(tasks, dtype=F64)
    update = traced(learner, state, problem.episode(generator(1), tasks=together))
    assert learner.task_params
    for event in range(1000 // together):
        allowed = together + 1 + event * together // 100
        arrived = torch.randperm(min(allowed, tasks), generator=draws)[:together]
        episode = problem.episode(draws, tasks=together)
        former = literal.memories[arrived]
        state, moved, info = update(state, rows[arrived], seen[arrived], episode)
        first = seen[arrived] == 0
        rows[arrived], seen[arrived] = moved, 1.0
        literal.learn(arrived.tolist(), known or int(seen.sum()), episode)
        assert torch.equal(info.loss_memory.isnan(), first)
        before = torch.func.vmap(problem.loss)(former, *episode.query)
        torch.testing.assert_close(info.loss_memory[~first], before[~first], rtol=1e-11, atol=1e-11)
        if event % 20 == 0 or event > 900 // together:
            own = torch.stack([learner.task_params(state, row) for row in rows[seen > 0]])
            torch.testing.assert_close(own, literal.memories[seen > 0], rtol=1e-12, atol=1e-12)
            absent = literal.memories[seen == 0]
            torch.testing.assert_close(
                state.slots["average"].expand_as(absent), absent, rtol=1e-12, atol=1e-12
            )
        torch.testing.assert_close(state.params, literal.params, rtol=1e-12, atol=1e-12)
    assert 8 <= seen.sum() <= tasks
    assert (state.params - params).norm() > 0.1


@pytest.mark.parametrize("order", ["second", "first"])
def test_with_all_tasks_in_every_iteration_it_is_v1(order: str) -> None:
    """Fact 4: B = n gives n/B = 1 and v1's trajectory, begun at u_i = w, on a network's loss."""
    problem, draws, tasks = PROBLEMS["sinusoid"], generator(2), 4
    given: Any = {"dimension": 25, "inner_lr": ALPHA, "meta_lr": ETA, "beta": 0.3, "order": order}
    one = moml(problem.loss, sgd(momentum=MU), **given)
    two = moml_v2(problem.loss, sgd(momentum=MU), **given)
    params = problem.start(draws)
    a, b = one.init(params), two.init(params)
    own, rows = params.repeat(tasks, 1), torch.zeros(tasks, 27, dtype=F64)
    everyone = torch.ones(tasks, dtype=F64)
    assert two.task_params
    for visit in range(60):
        episode = problem.episode(draws, tasks=tasks)
        a, own, info_a = one.update(a, own, everyone, episode)
        b, rows, info_b = two.update(b, rows, everyone * (visit > 0), episode)
        torch.testing.assert_close(b.params, a.params, rtol=1e-10, atol=1e-11)
        moved = torch.stack([two.task_params(b, row) for row in rows])
        torch.testing.assert_close(moved, own, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(info_b.tracking_error, info_a.tracking_error, rtol=1e-9, atol=1e-11)
    assert (a.params - params).norm() > 0.1


def walked(learner_state: State, at: int) -> State:
    """The state as it would be after `at` iterations."""
    slots = {**learner_state.slots, "iterations": torch.tensor(at)}
    return learner_state._replace(slots=slots)


@pytest.mark.parametrize("at", [0, 2**20 - 1, 2**24 + 1, 10**9 + 7])
def test_the_time_of_a_visit_is_exact_in_single_precision(at: int) -> None:
    """After any number of iterations a residual fades by (1−β) an iteration, no more and no less."""
    problem, draws, beta = PROBLEMS["quadratic"], generator(3), 0.25
    learner = moml_v2(problem.loss, sgd(), dimension=5, inner_lr=ALPHA, meta_lr=0.0, beta=beta, tasks=3)
    episode = Episode(*(Batch(batch.x.float(), batch.y.float()) for batch in problem.episode(draws)))
    state = walked(learner.init(problem.start(draws).float()), at)
    state, row, _ = learner.update(state, torch.zeros(1, 7), torch.zeros(1), episode)
    assert row.dtype == torch.float32
    residual = row[0, :5]
    assert residual.norm() > 1e-2
    assert learner.task_params
    for absent in range(4):
        own = learner.task_params(state, row[0]) - state.slots["average"]
        torch.testing.assert_close(own, residual * (1 - beta) ** absent, rtol=1e-6, atol=1e-6)
        other = torch.zeros(1, 7)
        state, _, _ = learner.update(state, other, torch.zeros(1), episode)


@pytest.mark.parametrize(("beta", "absent"), [(1e-5, 10**5), (1e-9, 10**9), (0.3, 10**6), (1.0, 1)])
def test_a_small_memory_rate_fades_as_it_should_in_single_precision(beta: float, absent: int) -> None:
    """(1−β)^k for k = 1/β is 1/e, although 1 − 10⁻⁹ is 1 in float32; far beyond, it is 0."""
    loss = PROBLEMS["quadratic"].loss
    learner = moml_v2(loss, sgd(), dimension=5, inner_lr=ALPHA, meta_lr=0.0, beta=beta, tasks=3)
    state = walked(learner.init(torch.zeros(5)), absent)
    assert learner.task_params
    own = learner.task_params(state, torch.tensor([1.0] * 5 + [0.0, 0.0]))
    torch.testing.assert_close(own, torch.full((5,), (1 - beta) ** absent), rtol=1e-6, atol=0)


def test_outer_scale_multiplies_by_the_memory_rate() -> None:
    """outer_scale = "beta": the direction times β, at first visits too."""
    problem, draws = PROBLEMS["sinusoid"], generator(4)
    params, episode = problem.start(draws), problem.episode(draws)
    moves = []
    scales: tuple[OuterScale, ...] = ("none", "beta")
    for scale in scales:
        learner = moml_v2(
            problem.loss,
            sgd(),
            dimension=25,
            inner_lr=ALPHA,
            meta_lr=ETA,
            beta=0.2,
            tasks=5,
            outer_scale=scale,
        )
        after, _, _ = learner.update(
            learner.init(params), torch.zeros(1, 27, dtype=F64), torch.zeros(1, dtype=F64), episode
        )
        moves.append(after.params - params)
    assert moves[0].norm() > 1e-3
    torch.testing.assert_close(moves[1], 0.2 * moves[0], rtol=1e-10, atol=1e-14)


def test_settings_out_of_range_are_refused() -> None:
    """The message names the argument and its value."""
    loss = PROBLEMS["quadratic"].loss
    with pytest.raises(ValueError, match="tasks must be at least 1, got 0"):
        moml_v2(loss, sgd(), dimension=5, inner_lr=ALPHA, meta_lr=ETA, beta=0.1, tasks=0)
    with pytest.raises(ValueError, match=r"beta must be in \(0, 1\], got 0"):
        moml_v2(loss, sgd(), dimension=5, inner_lr=ALPHA, meta_lr=ETA, beta=0.0)
