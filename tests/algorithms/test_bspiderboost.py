"""BSpiderBoost: differences of MAML's meta-gradient on the same data."""

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.bspiderboost import bspiderboost
from streammeta.algorithms.maml import maml
from streammeta.algorithms.outer import sgd
from streammeta.events import Episode
from tests.algorithms.problems import PROBLEMS, Problem, generator

F64 = torch.float64
NO_ROWS, SEEN = torch.zeros(3, 0, dtype=F64), torch.ones(3, dtype=F64)
ALPHA, ETA, PERIOD = 0.1, 0.05, 4


def maml_gradient(problem: Problem, params: Tensor, episode: Episode[Tensor]) -> Tensor:
    """G(w; S), read from a step of MAML."""
    learner = maml(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=1.0)
    after, _, _ = learner.update(learner.init(params), NO_ROWS, SEEN, episode)
    return params - after.params


def test_with_period_one_it_is_maml_bit_for_bit() -> None:
    """Every iteration begins anew."""
    problem, draws = PROBLEMS["sinusoid"], generator(1)
    one = bspiderboost(problem.loss, sgd(momentum=0.5), inner_lr=ALPHA, meta_lr=ETA, period=1)
    other = maml(problem.loss, sgd(momentum=0.5), inner_lr=ALPHA, meta_lr=ETA)
    params = problem.start(draws)
    a, b = one.init(params), other.init(params)
    for _ in range(20):
        episode = problem.episode(draws, tasks=3)
        a, _, _ = one.update(a, NO_ROWS, SEEN, episode)
        b, _, _ = other.update(b, NO_ROWS, SEEN, episode)
        assert torch.equal(a.params, b.params)
    assert not torch.equal(a.params, params)


def test_the_estimate_follows_its_recursion() -> None:
    """Z begins anew every q-th iteration, else takes G(w_t;S) − G(w_{t−1};S) with the present S in both."""
    problem, draws = PROBLEMS["sinusoid"], generator(2)
    learner = bspiderboost(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, period=PERIOD)
    state = learner.init(problem.start(draws))
    former, estimate = state.params, torch.zeros(25, dtype=F64)
    for t in range(10):
        episode = problem.episode(draws, tasks=3)
        now = maml_gradient(problem, state.params, episode)
        estimate = now if t % PERIOD == 0 else estimate + now - maml_gradient(problem, former, episode)
        after, _, info = learner.update(state, NO_ROWS, SEEN, episode)
        torch.testing.assert_close(after.slots["gradient"], estimate, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(state.params - after.params, ETA * estimate, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(info.gradient_norm, now.norm())
        assert t % PERIOD == 0 or (estimate - now).norm() > 1e-3
        former, state = state.params, after


def test_while_w_rests_new_data_change_nothing() -> None:
    """The same data in both gradients: at a resting w their difference is 0, whatever the data."""
    problem, draws = PROBLEMS["sinusoid"], generator(3)
    learner = bspiderboost(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=0.0, period=PERIOD)
    state = learner.init(problem.start(draws))
    estimates = []
    for _ in range(PERIOD + 1):
        state, _, _ = learner.update(state, NO_ROWS, SEEN, problem.episode(draws, tasks=3))
        estimates.append(state.slots["gradient"])
    assert estimates[0].norm() > 1e-2
    for estimate in estimates[1:PERIOD]:
        torch.testing.assert_close(estimate, estimates[0], rtol=1e-12, atol=1e-12)
    assert (estimates[PERIOD] - estimates[0]).norm() > 1e-2


def test_it_reduces_variance_within_a_period() -> None:
    """From an exact first gradient z stays closer to the exact one than fresh gradients are.

    The exact gradient is the mean over 1,000 tasks.
    """
    problem, draws = PROBLEMS["quadratic"], generator(4)
    learner = bspiderboost(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=0.02, period=1000)
    many = problem.episode(draws, tasks=1000)
    params = problem.start(draws) + 1
    state = learner.init(params)
    exact = {"gradient": maml_gradient_of_many(problem, params, many), "former": params}
    state = state._replace(slots={**state.slots, **exact, "phase": torch.tensor(1)})
    errors, fresh = [], []
    for _ in range(10):
        episode = problem.episode(draws, tasks=3)
        right = maml_gradient_of_many(problem, state.params, many)
        fresh.append((maml_gradient(problem, state.params, episode) - right).norm().item())
        state, _, _ = learner.update(state, NO_ROWS, SEEN, episode)
        errors.append((state.slots["gradient"] - right).norm().item())
    assert sum(errors) < 0.3 * sum(fresh)
    assert (state.params - params).norm() > 0.1


def maml_gradient_of_many(problem: Problem, params: Tensor, many: Episode[Tensor]) -> Tensor:
    """G over many tasks at once."""
    learner = maml(problem.loss, sgd(), inner_lr=ALPHA, meta_lr=1.0)
    count = many.support.x.shape[0]
    after, _, _ = learner.update(
        learner.init(params), torch.zeros(count, 0, dtype=F64), torch.ones(count, dtype=F64), many
    )
    return params - after.params


def test_period_out_of_range_is_refused() -> None:
    """The message names it and its value."""
    with pytest.raises(ValueError, match="period must be at least 1, got 0"):
        bspiderboost(PROBLEMS["quadratic"].loss, sgd(), inner_lr=ALPHA, meta_lr=ETA, period=0)
