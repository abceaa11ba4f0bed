"""NASA: MOML's memory and an average of the meta-gradient."""

from typing import Any

import pytest
import torch

from streammeta.algorithms.moml import moml
from streammeta.algorithms.nasa import nasa
from streammeta.algorithms.outer import sgd
from tests.algorithms.problems import PROBLEMS, generator

F64 = torch.float64
GIVEN: Any = {"dimension": 25, "inner_lr": 0.1, "beta": 0.3}


def test_with_gamma_one_it_is_moml_bit_for_bit() -> None:
    """γ = 1 keeps nothing of the former average."""
    problem, draws = PROBLEMS["sinusoid"], generator(1)
    one = nasa(problem.loss, sgd(momentum=0.5), gamma=1.0, meta_lr=0.05, **GIVEN)
    other = moml(problem.loss, sgd(momentum=0.5), meta_lr=0.05, **GIVEN)
    params = problem.start(draws)
    a, b, seen = one.init(params), other.init(params), torch.zeros(3, dtype=F64)
    own = also = torch.zeros(3, 25, dtype=F64)
    for _ in range(20):
        episode = problem.episode(draws, tasks=3)
        a, own, info_a = one.update(a, own, seen, episode)
        b, also, info_b = other.update(b, also, seen, episode)
        seen = torch.ones(3, dtype=F64)
        assert torch.equal(a.params, b.params)
        assert torch.equal(own, also)
        assert all(torch.equal(x, y) for x, y in zip(info_a[:2], info_b[:2], strict=True))
    assert not torch.equal(a.params, params)


def test_the_average_is_that_of_the_directions_and_moves_w() -> None:
    """z_t = Σ_s γ(1−γ)^(t−s) mean v_s, from z = 0; w ← w − ηz; the memories are MOML's at the same w."""
    problem, draws, gamma, eta = PROBLEMS["sinusoid"], generator(2), 0.2, 0.05
    learner = nasa(problem.loss, sgd(), gamma=gamma, meta_lr=eta, **GIVEN)
    directions_of = moml(problem.loss, sgd(), meta_lr=1.0, **GIVEN)
    state = learner.init(problem.start(draws))
    rows, seen = torch.zeros(3, 25, dtype=F64), torch.zeros(3, dtype=F64)
    directions: list[torch.Tensor] = []
    for t in range(12):
        episode = problem.episode(draws, tasks=3)
        asked = directions_of.init(state.params)
        moved, expected_rows, asked_info = directions_of.update(asked, rows, seen, episode)
        directions.append(state.params - moved.params)
        after, rows, info = learner.update(state, rows, seen, episode)
        seen = torch.ones(3, dtype=F64)
        average = sum(gamma * (1 - gamma) ** (t - s) * v for s, v in enumerate(directions))
        torch.testing.assert_close(after.slots["gradient"], average, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(state.params - after.params, eta * average, rtol=1e-9, atol=1e-11)
        assert torch.equal(rows, expected_rows)
        torch.testing.assert_close(info.gradient_norm, asked_info.gradient_norm)
        torch.testing.assert_close(info.update_norm, (after.params - state.params).norm())
        state = after
    assert min(v.norm().item() for v in directions) > 1e-2


def test_gamma_out_of_range_is_refused() -> None:
    """The message names it and its value."""
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got 0"):
        nasa(PROBLEMS["quadratic"].loss, sgd(), gamma=0, meta_lr=0.05, **GIVEN)
