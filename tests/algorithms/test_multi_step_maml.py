"""Multi-step MAML: the facts that the mathematics promises (algorithms chapter 3)."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import Loss, MetaLearner, State
from streammeta.algorithms.meta_step import (
    Constants,
    curvature_weight,
    inner_rate,
    objective_smoothness,
    observed,
)
from streammeta.algorithms.multi_step_maml import Data, multi_step_maml
from streammeta.algorithms.outer import sgd
from streammeta.events import Batch, Episode
from tests.algorithms.problems import PROBLEMS, generator, logistic

F64 = torch.float64
ALPHA = 0.1


def learner_of(loss: Loss, **settings: object) -> MetaLearner:
    """α = 0.1 and steps of 1 along the meta-gradient unless told."""
    given: dict[str, object] = {"inner_lr": ALPHA, "meta_lr": 1.0, "inner_steps": 3} | settings
    return multi_step_maml(loss, sgd(), **given)  # type: ignore[arg-type]  # a table of settings


def step(learner: MetaLearner, state: State, episode: Episode[Tensor]) -> State:
    """The state after one update."""
    count = episode.support.x.shape[0]
    empty = torch.zeros(count, 0, dtype=F64)
    return learner.update(state, empty, torch.zeros(count, dtype=F64), episode)[0]


def direction(learner: MetaLearner, w: Tensor, episode: Episode[Tensor]) -> Tensor:
    """Ĝ, from one update of rate 1."""
    return w - step(learner, learner.init(w), episode).params


def fine_difference(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Central differences of fourth order, error O(h⁴) with h = 1e-3."""
    h, rows = 1e-3, torch.eye(at.numel(), dtype=F64)
    near = torch.stack([function(at + h * e) - function(at - h * e) for e in rows])
    far = torch.stack([function(at + 2 * h * e) - function(at - 2 * h * e) for e in rows])
    return (8 * near - far) / (12 * h)


def repeated(batch: Batch[Tensor], times: int) -> Batch[Tensor]:
    """The examples (1, n, …) `times` times over."""
    return Batch(torch.cat([batch.x] * times, dim=1), torch.cat([batch.y] * times, dim=1))


@pytest.mark.parametrize("data", ["finite_sum", "resampling"])
@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("name", ["sinusoid", "logistic"])
def test_backward_product_is_the_derivative_of_the_inner_loop(name: str, steps: int, data: Data) -> None:
    """To 1e-8, on losses that are not quadratic; when resampling with the same examples in every piece."""
    problem, draws = PROBLEMS[name], generator(1)
    w, episode = problem.start(draws), problem.episode(draws)
    support, query = (Batch(batch.x[0], batch.y[0]) for batch in episode)

    def objective(at: Tensor) -> Tensor:
        for _ in range(steps):
            at = at - ALPHA * torch.func.grad(problem.loss)(at, *support)
        return problem.loss(at, *query)

    given = episode if data == "finite_sum" else Episode(repeated(episode.support, 2 * steps), episode.query)
    found = direction(learner_of(problem.loss, inner_steps=steps, data=data), w, given)
    expected = fine_difference(objective, w)
    plain = torch.func.grad(problem.loss)(w, *query)
    assert (found - plain).norm() > 0.02 * plain.norm() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_resampling_takes_fresh_examples_for_every_gradient_and_hessian() -> None:
    """Pieces S_0, D_0, S_1, D_1, … of the support set in order, against a product of explicit Hessians."""
    problem, draws, steps = PROBLEMS["sinusoid"], generator(2), 3
    w, episode = problem.start(draws), problem.episode(draws)
    query = Batch(episode.query.x[0], episode.query.y[0])
    pieces = [Batch(episode.support.x[0, i : i + 1], episode.support.y[0, i : i + 1]) for i in range(6)]
    gradient = torch.func.grad(problem.loss)
    product, point = torch.eye(problem.dimension, dtype=F64), w
    for j in range(steps):
        hessian = torch.func.jacrev(gradient)(point, *pieces[2 * j + 1])
        product = product @ (torch.eye(problem.dimension, dtype=F64) - ALPHA * hessian)
        point = point - ALPHA * gradient(point, *pieces[2 * j])
    expected = product @ gradient(point, *query)
    assert expected.norm() > 0.1
    found = direction(learner_of(problem.loss, inner_steps=steps, data="resampling"), w, episode)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("examples", [6, 3])
def test_a_set_that_cannot_be_cut_is_refused(examples: int) -> None:
    """2N equal pieces; the message names the settings and the remedy."""
    problem, draws = PROBLEMS["sinusoid"], generator(3)
    episode = problem.episode(draws)
    short = Episode(Batch(episode.support.x[:, :examples], episode.support.y[:, :examples]), episode.query)
    learner = learner_of(problem.loss, inner_steps=2, data="resampling")
    with pytest.raises(
        ValueError, match=f'"resampling" with inner_steps = 2 .* 4 equal pieces, got {examples}'
    ):
        step(learner, learner.init(problem.start(draws)), short)


@pytest.mark.parametrize("data", ["finite_sum", "resampling"])
@pytest.mark.parametrize("setting", [{"inner_steps": 0}, {"inner_lr": 0.0}])
def test_without_inner_steps_it_is_the_query_gradient(setting: dict[str, float], data: Data) -> None:
    """N = 0, and α = 0, give ∇l_T(w) exactly."""
    problem, draws = PROBLEMS["logistic"], generator(4)
    w, episode = problem.start(draws), problem.episode(draws)
    query = Batch(episode.query.x[0], episode.query.y[0])
    expected = torch.func.grad(problem.loss)(w, *query)
    assert expected.norm() > 0.05
    found = direction(learner_of(problem.loss, data=data, **setting), w, episode)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_quadratic_has_its_closed_form(steps: int) -> None:
    """With l_S = l_T: (I − αA)^N A (w_N − w*), w_N − w* = (I − αA)^N (w − w*)."""
    problem, draws = PROBLEMS["quadratic"], generator(5)
    w, batch = problem.start(draws), problem.draw(draws)
    full = Episode(*(Batch(batch.x[None], batch.y[None]) for _ in range(2)))
    curvature = batch.x.mean(0)
    centre = (batch.x * batch.y).mean(0) / curvature
    expected = (1 - ALPHA * curvature) ** (2 * steps) * curvature * (w - centre)
    found = direction(learner_of(problem.loss, inner_steps=steps), w, full)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def logistic_constants(batch: Batch[Tensor]) -> Constants[float]:
    """Bounds for logistic regression: L = λ_max(XᵀX/n)/4, ρ = max|σ''| mean‖x‖³, over tasks (B, n, d)."""
    gram = torch.einsum("bni,bnj->bij", batch.x, batch.x) / batch.x.shape[1]
    cubes = torch.linalg.vector_norm(batch.x, dim=-1) ** 3
    return Constants(torch.linalg.eigvalsh(gram).max().item() / 4, cubes.mean(1).max().item() / (6 * 3**0.5))


def joint(episode: Episode[Tensor]) -> Constants[float]:
    """Constants that hold on both sets."""
    bounds = [logistic_constants(batch) for batch in episode]
    return Constants(max(b.smoothness for b in bounds), max(b.hessian_lipschitz for b in bounds))


@pytest.mark.parametrize("weight", [1.0, 80.0])
@pytest.mark.parametrize("known", [True, False])
def test_with_full_batches_the_adaptive_step_lowers_the_objective_every_time(
    weight: float, *, known: bool
) -> None:
    """C_β >= 1: F falls at each of 60 steps, with the true L and ρ, and with running estimates (C_β = 80)."""
    problem, steps = PROBLEMS["logistic"], 3
    episode = problem.episode(generator(6), tasks=5)
    bounds = joint(episode)
    rate = inner_rate(bounds.smoothness, steps)
    constants = bounds._asdict() if known else {}
    learner = learner_of(
        problem.loss, inner_lr=rate, meta_lr=1 / weight, inner_steps=steps, meta_step="adaptive", **constants
    )

    def objective(w: Tensor) -> float:
        def task(support: Batch[Tensor], query: Batch[Tensor]) -> Tensor:
            at = w
            for _ in range(steps):
                at = at - rate * torch.func.grad(problem.loss)(at, *support)
            return problem.loss(at, *query)

        return torch.func.vmap(task)(*episode).mean().item()

    state = learner.init(2 * torch.ones(4, dtype=F64))
    values = [objective(state.params)]
    for _ in range(60):
        state = step(learner, state, episode)
        values.append(objective(state.params))
    assert all(later < earlier for earlier, later in pairwise(values))
    assert values[-1] < (0.97 if weight > 1 else 0.5) * values[0]
    if not known:
        assert 0.1 * bounds.smoothness < state.slots["smoothness"] <= bounds.smoothness
        assert 0 < state.slots["hessian_lipschitz"] <= bounds.hessian_lipschitz


def test_the_adaptive_step_is_the_rate_over_the_smoothness_of_the_objective() -> None:
    """η/L̂ with the gradient norm of the update before, by the formula of the paper written out."""
    problem, steps, ell, rho = PROBLEMS["logistic"], 2, 3.0, 5.0
    draws = generator(7)
    learner = learner_of(
        problem.loss,
        meta_lr=0.01,
        inner_steps=steps,
        meta_step="adaptive",
        smoothness=ell,
        hessian_lipschitz=rho,
    )
    plain = learner_of(problem.loss, inner_steps=steps)
    state = learner.init(problem.start(draws))
    growth, norms = 1 + ALPHA * ell, []
    for visit in range(3):
        episode = problem.episode(draws, tasks=2)
        slopes = [
            torch.func.grad(problem.loss)(state.params, x, y)
            for x, y in zip(episode.query.x, episode.query.y, strict=True)
        ]
        norms.append(torch.stack(slopes).norm(dim=1).mean())
        norm = norms[max(visit - 1, 0)]
        weight = (rho / ell) * growth ** (2 * steps - 1) * (growth**steps - 1)
        expected = 0.01 / (growth ** (2 * steps) * ell + weight * norm)
        after = step(learner, state, episode)
        moved = state.params - after.params
        torch.testing.assert_close(
            moved, expected * direction(plain, state.params, episode), rtol=1e-11, atol=0
        )
        assert after.meta_lr == state.meta_lr
        state = after
    assert abs(norms[0] - norms[1]) > 0.01


def test_estimates_are_exact_where_the_derivatives_are_known() -> None:
    """On Σ w³/6 the Hessian is diag(w): L and ρ seen along h are norms of w·h and of (u − w)·h."""

    def cubic(params: Tensor, _x: Tensor, _y: Tensor) -> Tensor:
        return (params**3).sum() / 6

    w, u, h = torch.randn(3, 4, generator=generator(8), dtype=F64)
    none = torch.zeros(1, dtype=F64)
    found = observed(cubic, w, u, Batch(none, none), h)
    assert found.smoothness.item() == pytest.approx(
        max((w * h).norm(), (u * h).norm()).item() / h.norm().item()
    )
    expected = ((u - w) * h).norm() / ((u - w).norm() * h.norm())
    assert found.hessian_lipschitz.item() == pytest.approx(expected.item())
    still = observed(cubic, w, w, Batch(none, none), h)
    assert still.hessian_lipschitz.item() == 0


def weight_of(alpha: float, steps: int) -> float:
    """C_L at L = ρ = 1."""
    one = torch.ones((), dtype=F64)
    return curvature_weight(Constants(one, one), alpha * one, steps).item()


def test_curvature_weight_has_the_papers_form_and_explodes_unless_alpha_falls_with_n() -> None:
    """C_L = (ρ/L) M^{2N−1} (M^N − 1): geometric in N with α fixed, below 0.2 with 1/(8NL)."""
    assert weight_of(0.5, 3) == pytest.approx(1.5**5 * (1.5**3 - 1), rel=1e-12)
    assert weight_of(0.5, 10) > 1e4 * weight_of(0.5, 1)
    rule = [weight_of(inner_rate(1.0, steps), steps) for steps in (1, 10, 100)]
    assert max(rule) < 0.2
    one = torch.ones((), dtype=F64)
    assert objective_smoothness(Constants(one, one), 0 * one, 5, one).item() == 1


def learned(alpha: float, steps: int) -> tuple[float, float]:
    """Query losses of fresh sinusoid tasks at the first w, and at the last of 150 steps of rate 0.03."""
    problem, draws = PROBLEMS["sinusoid"], generator(9)
    learner = learner_of(problem.loss, inner_lr=alpha, meta_lr=0.03, inner_steps=steps)
    first = state = learner.init(problem.start(draws))
    query = problem.episode(generator(10), tasks=30).query
    for _ in range(150):
        state = step(learner, state, problem.episode(draws))
    at_query = torch.func.vmap(problem.loss, in_dims=(None, 0, 0))
    before, after = (at_query(at.params, *query).mean().item() for at in (first, state))
    return before, after


def test_fixed_alpha_diverges_at_many_steps_and_alpha_over_n_does_not() -> None:
    """α = 0.2 learns with N = 1; at N = 10 the same α runs away to NaN, and α/N learns."""
    start, one = learned(0.2, 1)
    _, fixed = learned(0.2, 10)
    _, divided = learned(0.2 / 10, 10)
    assert max(one, divided) < 0.3 * start
    assert not fixed < 1e6 * start


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"inner_steps": -1}, "inner_steps must not be negative"),
        ({"meta_step": "adaptive", "smoothness": 0.0}, "smoothness must be positive"),
        ({"meta_step": "adaptive", "hessian_lipschitz": -1.0}, "hessian_lipschitz must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, object], message: str) -> None:
    """The message names the setting."""
    with pytest.raises(ValueError, match=message):
        learner_of(logistic, **setting)
