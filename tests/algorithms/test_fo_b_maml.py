"""FO-B-MAML: the facts that the mathematics promises (algorithms chapter 2), on quadratic tasks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.fo_b_maml import Difference, fo_b_maml
from streammeta.algorithms.outer import sgd
from streammeta.reproduce.proximal_tasks import LAMBDA, Tasks, loss, tasks
from tests.algorithms.problems import PROBLEMS, generator

F64 = torch.float64
DIFFERENCES: list[tuple[Difference, int]] = [("forward", 2), ("symmetric", 4)]
"""By what the error is divided when ν is halved."""


def learner_of(nu: float, difference: Difference, meta_lr: float = 1.0) -> MetaLearner:
    """Inner steps that solve the quadratic tasks to rounding: they shrink the error to less than a half."""
    return fo_b_maml(
        loss,
        sgd(),
        inner_lr=0.45,
        meta_lr=meta_lr,
        inner_steps=60,
        lambda_=LAMBDA,
        nu=nu,
        difference=difference,
    )


def direction(learner: MetaLearner, given: Tasks, w: Tensor) -> Tensor:
    """mean_i h_i at w, from one update of rate 1."""
    count = len(given.a)
    after, _, _ = learner.update(
        learner.init(w), torch.zeros(count, 0, dtype=F64), torch.zeros(count, dtype=F64), given.episode
    )
    return w - after.params


@pytest.mark.parametrize("difference", ["forward", "symmetric"])
@pytest.mark.parametrize("nu", [0.2, 0.01])
def test_direction_has_its_closed_form_at_every_nu(nu: float, difference: Difference) -> None:
    """Fact 1: exact also for a large ν; the two forms, and the limit, differ."""
    given = tasks(4)
    w = torch.randn(5, generator=generator(2), dtype=F64)
    expected = given.directions(w, nu, difference).mean(0)
    assert (expected - given.gradients(w).mean(0)).norm() > 1e-6 * expected.norm()
    torch.testing.assert_close(
        direction(learner_of(nu, difference), given, w), expected, rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize(("difference", "factor"), DIFFERENCES)
def test_halving_nu_halves_or_quarters_the_error(difference: Difference, factor: int) -> None:
    """Fact 2: the error against ∇F is of first order in ν, or of second."""
    given = tasks(4)
    w = torch.randn(5, generator=generator(3), dtype=F64)
    exact = given.gradients(w).mean(0)
    coarse, fine = ((direction(learner_of(nu, difference), given, w) - exact).norm() for nu in (0.02, 0.01))
    assert fine > 1e-8
    assert coarse / fine == pytest.approx(factor, rel=0.03)


def rest(step: Callable[[Tensor], Tensor], rate: float, steps: int) -> Tensor:
    """Where `steps` steps w ← w − rate · step(w) from 0 come to rest."""
    w = torch.zeros(5, dtype=F64)
    for _ in range(steps):
        w = w - rate * step(w)
    assert step(w).norm() < 1e-10
    return w


def test_descent_rests_near_the_minimum_and_first_order_maml_and_reptile_do_not() -> None:
    """Fact 3, 20 tasks: FO-B-MAML rests at ‖∇F‖ ∝ ν or ν²; the others' floors no step size removes.

    The descent takes h from the closed form of fact 1; the learner itself then finds no way on from there.
    """
    given = tasks(20)

    def slope(w: Tensor) -> float:
        return float(given.gradients(w).mean(0).norm())

    def resting_slope(nu: float, difference: Difference) -> float:
        w = rest(lambda w: given.directions(w, nu, difference).mean(0), rate=1.0, steps=300)
        assert direction(learner_of(nu, difference), given, w).norm() < 1e-9
        return slope(w)

    assert slope(torch.zeros(5, dtype=F64)) > 0.2
    for difference, factor in DIFFERENCES:
        coarse, fine = (resting_slope(nu, difference) for nu in (0.04, 0.02))
        assert coarse / fine == pytest.approx(factor, rel=0.1)
    for other in (
        lambda w: given.query_gradient(given.solution(w)).mean(0),  # first-order MAML
        lambda w: (w - given.solution(w)).mean(0),  # Reptile
    ):
        floors = [slope(rest(other, rate, steps)) for rate, steps in ((0.5, 300), (0.1, 1500))]
        assert floors[0] == pytest.approx(floors[1], rel=1e-6)
        assert floors[0] > 0.02
        assert fine < 0.01 * floors[0]


def test_info_tells_the_losses_before_the_event() -> None:
    """Query losses at w and after the inner solve on the support set alone."""
    problem = PROBLEMS["sinusoid"]
    learner = fo_b_maml(problem.loss, sgd(), inner_lr=0.1, meta_lr=1.0, inner_steps=3, lambda_=1.0, nu=0.1)
    draws = generator(4)
    w, episode = problem.start(draws), problem.episode(draws)
    support, query = ((batch.x[0], batch.y[0]) for batch in episode)
    _, _, info = learner.update(
        learner.init(w), torch.zeros(1, 0, dtype=F64), torch.zeros(1, dtype=F64), episode
    )
    phi = w
    for _ in range(3):
        leaf = phi.clone().requires_grad_()
        (slope,) = torch.autograd.grad(problem.loss(leaf, *support), leaf)
        phi = phi - 0.1 * (slope + (phi - w))
    assert (phi - w).norm() > 0.1
    torch.testing.assert_close(info.loss_meta[0], problem.loss(w, *query))
    torch.testing.assert_close(info.loss_adapted[0], problem.loss(phi, *query))
    torch.testing.assert_close(
        learner.adapt(learner.init(w), episode.support._replace(x=support[0], y=support[1])), phi
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"nu": 0.0}, "nu must be positive"),
        ({"lambda_": 0.0}, "lambda must be"),
        ({"inner_steps": 0}, "inner_steps"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, float], message: str) -> None:
    """The message names the setting."""
    given: dict[str, float] = {"inner_lr": 0.1, "meta_lr": 0.1, "inner_steps": 2, "lambda_": 1.0, "nu": 0.1}
    with pytest.raises(ValueError, match=message):
        fo_b_maml(loss, sgd(), **(given | setting))  # type: ignore[arg-type]  # a table of settings
