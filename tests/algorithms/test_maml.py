"""N-step MAML, FO-MAML, ANIL and Reptile against other ways to the same numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.maml import anil, maml, reptile
from streammeta.algorithms.multi_step_maml import multi_step_maml
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.split import Split
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, Problem, central_difference, generator

F64 = torch.float64
ALPHA, ETA = 0.1, 0.05
SPLIT = Split((10, 8, 7), (False, True, False))  # a head amid the 25 parameters of the sinusoid's network
MASK = torch.tensor([0.0] * 10 + [1.0] * 8 + [0.0] * 7, dtype=F64)


def direction_of(learner: MetaLearner, params: Tensor, episode: Episode[Tensor], eta: float = ETA) -> Tensor:
    """What the learner moved w along, read from a step of plain SGD."""
    memory = torch.zeros(episode.support.x.shape[0], learner.memory_size, dtype=F64)
    after, _, _ = learner.update(learner.init(params), memory, memory.new_ones(len(memory)), episode)
    return (params - after.params) / eta


def descended(
    problem: Problem, params: Tensor, support: Batch[Tensor], steps: int, mask: Tensor | None = None
) -> Tensor:
    """φ_N by autograd, without any part of the code under test."""
    for _ in range(steps):
        leaf = params.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(problem.loss(leaf, *support), leaf)
        params = leaf.detach() - ALPHA * (gradient if mask is None else mask * gradient)
    return params


def one(episode: Episode[Tensor]) -> Episode[Tensor]:
    """The only task of an episode, without its axis."""
    return Episode(*(Batch(batch.x[0], batch.y[0]) for batch in episode))


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("name", ["sinusoid", "logistic"])
def test_meta_gradient_is_the_central_difference(name: str, steps: int) -> None:
    """The direction of N-step MAML is the gradient of l(φ_N(w); Q), to 1e-6, also for N = 0."""
    problem, draws = PROBLEMS[name], generator(1)
    params, episode = problem.start(draws), problem.episode(draws)
    learner = maml(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=steps)
    support, query = one(episode)
    expected = central_difference(
        lambda w: problem.loss(descended(problem, w, support, steps), *query), params
    )
    assert expected.norm() > 1e-2
    torch.testing.assert_close(direction_of(learner, params, episode), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 3])
def test_anil_meta_gradient_is_the_central_difference(steps: int) -> None:
    """The gradient of l(φ_N(w); Q) in all of w where the inner loop moves the head alone, to 1e-6."""
    problem, draws = PROBLEMS["sinusoid"], generator(2)
    params, episode = problem.start(draws), problem.episode(draws)
    learner = anil(problem.loss, sgd(), split=SPLIT, inner_lr=ALPHA, meta_lr=ETA, inner_steps=steps)
    support, query = one(episode)
    expected = central_difference(
        lambda w: problem.loss(descended(problem, w, support, steps, MASK), *query), params
    )
    assert (expected * MASK).norm() > 1e-2
    assert (expected * (1 - MASK)).norm() > 1e-2
    torch.testing.assert_close(direction_of(learner, params, episode), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 3])
def test_first_order_is_the_gradient_where_the_steps_end(steps: int) -> None:
    """FO-MAML: ∇l(φ_N; Q), which is not the gradient in w."""
    problem, draws = PROBLEMS["sinusoid"], generator(3)
    params, episode = problem.start(draws), problem.episode(draws)
    given: Any = {"inner_lr": ALPHA, "meta_lr": ETA, "inner_steps": steps}
    first = direction_of(maml(problem.loss, sgd(), order="first", **given), params, episode)
    second = direction_of(maml(problem.loss, sgd(), **given), params, episode)
    support, query = one(episode)
    leaf = descended(problem, params, support, steps).requires_grad_()
    (expected,) = torch.autograd.grad(problem.loss(leaf, *query), leaf)
    torch.testing.assert_close(first, expected, rtol=1e-10, atol=1e-12)
    assert (first - second).norm() > 0.01 * second.norm()


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_it_agrees_with_the_finite_sum_form(steps: int) -> None:
    """Two implementations of one gradient: back-propagation here, the backward product of multi-step MAML."""
    problem, draws = PROBLEMS["sinusoid"], generator(4)
    params, episode = problem.start(draws), problem.episode(draws, tasks=3)
    here, there = (
        direction_of(
            build(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=steps), params, episode
        )
        for build in (maml, multi_step_maml)
    )
    torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["maml", "anil", "reptile"])
def test_adapt_takes_the_inner_steps(name: str) -> None:
    """`adapt` gives φ_N of the support set, ANIL's with the head alone; the adapted loss is that at φ_N."""
    problem, draws = PROBLEMS["sinusoid"], generator(5)
    params, episode = problem.start(draws), problem.episode(draws)
    given: Any = {"inner_lr": ALPHA, "meta_lr": ETA, "inner_steps": 3}
    learner = {
        "maml": lambda: maml(problem.loss, sgd(), **given),
        "anil": lambda: anil(problem.loss, sgd(), split=SPLIT, **given),
        "reptile": lambda: reptile(problem.loss, sgd(), **given),
    }[name]()
    support, query = one(episode)
    expected = descended(problem, params, support, 3, MASK if name == "anil" else None)
    state = learner.init(params)
    torch.testing.assert_close(learner.adapt(state, support), expected, rtol=1e-12, atol=1e-14)
    _, _, info = learner.update(state, torch.zeros(1, 0, dtype=F64), torch.ones(1, dtype=F64), episode)
    torch.testing.assert_close(info.loss_adapted[0], problem.loss(expected, *query))
    torch.testing.assert_close(info.loss_meta[0], problem.loss(params, *query))
    assert info.loss_memory.isnan().all()
    assert info.tracking_error.isnan().all()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_reptile_moves_towards_the_mean_of_what_the_steps_reach(steps: int) -> None:
    """W + ε mean_i (φ_K − w), where the steps take the support and the query set in turn."""
    problem, draws = PROBLEMS["sinusoid"], generator(6)
    params, episode = problem.start(draws), problem.episode(draws, tasks=3)
    learner = reptile(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=0.3, inner_steps=steps)
    after, _, info = learner.update(
        learner.init(params), torch.zeros(3, 0, dtype=F64), torch.ones(3, dtype=F64), episode
    )
    reached = []
    for i in range(3):
        sets = [Batch(batch.x[i], batch.y[i]) for batch in episode]
        end = params
        for j in range(steps):
            end = descended(problem, end, sets[j % 2], 1)
        reached.append(end)
    change = torch.stack(reached).mean(0) - params
    assert change.norm() > 1e-2
    torch.testing.assert_close(after.params, params + 0.3 * change, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(info.gradient_norm, change.norm())


def test_settings_out_of_range_are_refused() -> None:
    """The message names the argument and its value."""
    loss = PROBLEMS["quadratic"].loss
    with pytest.raises(ValueError, match="inner_steps must not be negative, got -1"):
        maml(loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=-1)
    with pytest.raises(ValueError, match="inner_steps must not be negative, got -1"):
        anil(loss, sgd(), split=SPLIT, inner_lr=ALPHA, meta_lr=ETA, inner_steps=-1)
    with pytest.raises(ValueError, match="inner_steps must be at least 1, got 0"):
        reptile(loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, inner_steps=0)
    with pytest.raises(ValueError, match=r"must not be negative, got inner -0\.1"):
        reptile(loss, sgd(), inner_lr=-0.1, meta_lr=ETA)
