"""Clipped inner steps: exact pull-backs, bounded moves, and nothing at all when off."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner
from streammeta.algorithms.baselines import independent, online_sgd
from streammeta.algorithms.bspiderboost import bspiderboost
from streammeta.algorithms.federated import local_moml, per_fedavg
from streammeta.algorithms.fo_b_maml import fo_b_maml
from streammeta.algorithms.imaml import imaml
from streammeta.algorithms.maml import anil, maml, reptile
from streammeta.algorithms.memory_reduced import memory_reduced
from streammeta.algorithms.moml import moml
from streammeta.algorithms.moml_v2 import moml_v2
from streammeta.algorithms.multi_step_maml import multi_step_maml
from streammeta.algorithms.nasa import nasa
from streammeta.algorithms.outer import sgd
from streammeta.algorithms.steps import curb, inner_gradient
from streammeta.config.algorithms import NAMES
from streammeta.events import Batch, Episode
from streammeta.learner.flat import state_tensors
from tests.algorithms.learners import head_of
from tests.algorithms.problems import PROBLEMS, central_difference, generator

PROBLEM = PROBLEMS["sinusoid"]
ALPHA = 0.05
_RATES: dict[str, Any] = {"inner_lr": ALPHA, "meta_lr": 1.0}
_MEMORY: dict[str, Any] = {**_RATES, "dimension": PROBLEM.dimension, "beta": 0.5}
_SOLVE: dict[str, Any] = {**_RATES, "inner_steps": 4}
Build = Callable[..., MetaLearner]
BUILDS: dict[str, Build] = {
    "moml": partial(moml, **_MEMORY),
    "moml_v2": partial(moml_v2, **_MEMORY, tasks=3),
    "nasa": partial(nasa, **_MEMORY, gamma=0.5),
    "bspiderboost": partial(bspiderboost, **_RATES, period=3),
    "local_moml": partial(local_moml, **_MEMORY, local_steps=2, initial_examples=2, keep_memory=True),
    "per_fedavg": partial(per_fedavg, **_RATES, local_steps=3),
    "maml": partial(maml, **_RATES, inner_steps=3),
    "reptile": partial(reptile, **_RATES, inner_steps=3),
    "anil": partial(anil, **_RATES, inner_steps=3, split=head_of(PROBLEM)),
    "multi_step_maml": partial(multi_step_maml, **_RATES, inner_steps=3),
    "fo_b_maml": partial(fo_b_maml, **_SOLVE, lambda_=1.0, nu=0.01),
    "imaml": partial(imaml, **_SOLVE, lambda_=1.0, cg_steps=3),
    "memory_reduced": partial(
        memory_reduced, **_SOLVE, split=head_of(PROBLEM), cg_steps=3, ridge=0.5, warm_start=True
    ),
    "online_sgd": partial(online_sgd, **_RATES),
    "independent": partial(independent, **_RATES, dimension=PROBLEM.dimension),
}
"""Every algorithm, with few steps: build(loss, outer, inner_clip_norm=…)."""


def build(name: str, clip: float | None) -> MetaLearner:
    """An algorithm on the sinusoid."""
    return BUILDS[name](PROBLEM.loss, sgd(), inner_clip_norm=clip)


def visits(learner: MetaLearner, *, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """All that three visits of a task leave, the second of which has labels `scale` times as large."""
    draws = generator(3)
    state = learner.init(PROBLEM.start(draws).to(dtype))
    memory, left = torch.zeros(1, learner.memory_size, dtype=dtype), list[Tensor]()
    for visit in range(3):
        seen = torch.full((1,), float(visit > 0), dtype=dtype)
        support, query = (Batch(*(t.to(dtype) for t in batch)) for batch in PROBLEM.episode(draws))
        support = Batch(support.x, support.y * (scale if visit == 1 else 1.0))
        state, memory, info = learner.update(state, memory, seen, Episode(support, query))
        left += [*state_tensors(state), memory, *info]
    return left


def test_every_algorithm_is_here() -> None:
    """An algorithm that is added clips too."""
    assert set(NAMES) == set(BUILDS)


@pytest.mark.parametrize("name", BUILDS)
def test_a_clip_that_is_never_reached_changes_no_bit(name: str) -> None:
    """A clip far beyond every gradient is the algorithm without one."""
    off, wide = visits(build(name, None)), visits(build(name, 1e9))
    assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(off, wide, strict=True))


@pytest.mark.parametrize("name", BUILDS)
def test_adaptation_moves_by_the_clip_at_most(name: str) -> None:
    """Far from a task's optimum: N steps of αc, in every algorithm, and more without a clip."""
    draws = generator(4)
    params, support = PROBLEM.start(draws), PROBLEM.draw(draws)
    far = Batch(support.x, 100 * support.y)
    steps = {"maml": 3, "reptile": 3, "anil": 3, "multi_step_maml": 3}
    bound = ALPHA * 0.5 * (steps | dict.fromkeys(("fo_b_maml", "imaml", "memory_reduced"), 4)).get(name, 1)

    def moved(clip: float | None) -> float:
        learner = build(name, clip)
        return float(torch.linalg.vector_norm(learner.adapt(learner.init(params), far) - params))

    assert 0.2 * bound < moved(0.5) <= bound * (1 + 1e-12)
    assert moved(None) > 2 * bound


def test_a_first_visit_of_moml_moves_its_memory_by_the_clip_at_most() -> None:
    """‖u − w‖ = αc where the gradient is longer than c."""
    draws, learner = generator(5), build("moml", 0.25)
    state = learner.init(PROBLEM.start(draws))
    zeros = torch.zeros(1, PROBLEM.dimension, dtype=torch.float64)
    _, memory, _ = learner.update(state, zeros, zeros[:, 0], PROBLEM.episode(draws))
    assert torch.linalg.vector_norm(memory[0] - state.params).item() == pytest.approx(ALPHA * 0.25, rel=1e-12)


@pytest.mark.parametrize("clip", [0.3, 1e3], ids=["clipped", "not clipped"])
@pytest.mark.parametrize(
    "name", ["moml", "maml", "multi_step_maml", "bspiderboost", "nasa", "moml_v2", "anil", "per_fedavg"]
)
def test_the_meta_gradient_is_exact_through_the_clip(name: str, clip: float) -> None:
    """At β = 1 each is the gradient of w -> l(adapt(w); Q), here by central differences."""
    exact = {"beta": 1.0} if name in ("moml", "nasa", "moml_v2") else {}
    exact |= {"gamma": 1.0} if name == "nasa" else {}
    exact |= {"tasks": 1} if name == "moml_v2" else {}
    exact |= {"local_steps": 1} if name == "per_fedavg" else {}
    learner = BUILDS[name](PROBLEM.loss, sgd(), inner_clip_norm=clip, **exact)
    draws = generator(6)
    state, episode = learner.init(PROBLEM.start(draws)), PROBLEM.episode(draws)
    support, query = (Batch(batch.x[0], batch.y[0]) for batch in episode)

    def objective(params: Tensor) -> Tensor:
        return PROBLEM.loss(learner.adapt(state._replace(params=params), support), *query)

    nothing = torch.zeros(1, learner.memory_size, dtype=torch.float64)
    after, _, _ = learner.update(state, nothing, torch.zeros(1, dtype=torch.float64), episode)
    numeric = central_difference(objective, state.params)
    assert numeric.norm() > 1e-2
    torch.testing.assert_close(state.params - after.params, numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("clip", [0.3, 1e3], ids=["clipped", "not clipped"])
def test_the_pull_back_of_a_step_is_its_jacobian(clip: float) -> None:
    """It is h -> Jᵀh of w − α p min(1, c/‖p‖), and not that of an unclipped step."""
    draws = generator(7)
    params, support = PROBLEM.start(draws), PROBLEM.draw(draws)
    alpha = torch.tensor(ALPHA, dtype=torch.float64)
    inner = inner_gradient(PROBLEM.loss, "second", clip_norm=clip)
    h = torch.randn(PROBLEM.dimension, generator=draws, dtype=torch.float64)
    numeric = central_difference(lambda w: h @ (w - alpha * inner(w, alpha, support)[0]), params)
    torch.testing.assert_close(inner(params, alpha, support)[1](h), numeric, rtol=1e-6, atol=1e-6)
    plain = inner_gradient(PROBLEM.loss, "second")(params, alpha, support)[1](h)
    assert ((plain - numeric).norm() > 1e-2) == (clip < 1)


def test_separate_hessian_examples_meet_the_clip_of_the_step() -> None:
    """Resampling: (I − αH_0 J_0)(I − αH_1 J_1) ∇l, p and J on S_j, H on D_j; here with dense matrices."""
    problem, clip, alpha = PROBLEMS["logistic"], 0.05, 0.5
    draws = generator(8)
    params, data = problem.start(draws), [problem.draw(draws) for _ in range(5)]
    support = Batch(*(torch.cat(column) for column in zip(*data[:4], strict=True)))
    learner = multi_step_maml(
        problem.loss,
        sgd(),
        inner_lr=alpha,
        meta_lr=1.0,
        inner_steps=2,
        data="resampling",
        inner_clip_norm=clip,
    )
    episode = Episode(*(Batch(*(tensor[None] for tensor in batch)) for batch in (support, data[4])))
    zeros = torch.zeros(1, 0, dtype=torch.float64)
    after, _, _ = learner.update(learner.init(params), zeros, zeros.new_zeros(1), episode)
    point, product = params, torch.eye(4, dtype=torch.float64)
    for step, other in (data[:2], data[2:4]):
        p = torch.func.grad(problem.loss)(point, *step)
        unit, size = p / p.norm(), p.norm()
        assert size > clip
        jacobian = clip / size * (torch.eye(4) - torch.outer(unit, unit))
        hessian = torch.func.jacrev(torch.func.grad(problem.loss))(point, *other)
        product, point = product @ (torch.eye(4) - alpha * hessian @ jacobian), point - alpha * clip * unit
    expected = product @ torch.func.grad(problem.loss)(point, *data[4])
    torch.testing.assert_close(params - after.params, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["fo_b_maml", "imaml", "memory_reduced"])
def test_a_clip_moves_no_solution_of_an_inner_problem(name: str) -> None:
    """Solved to the end, with steps that were clipped at first, the meta-gradient is that without a clip."""
    problem, draws = PROBLEMS["quadratic"], generator(9)
    changes: dict[str, Any] = {"inner_steps": 120, "inner_lr": 0.3}
    if name == "memory_reduced":
        changes["split"] = head_of(problem)
    params, episode = problem.start(draws), problem.episode(draws)

    def moved(clip: float | None) -> Tensor:
        learner = BUILDS[name](problem.loss, sgd(), inner_clip_norm=clip, **changes)
        nothing = torch.zeros(1, learner.memory_size, dtype=torch.float64)
        seen = torch.zeros(1, dtype=torch.float64)
        return learner.update(learner.init(params), nothing, seen, episode)[0].params - params

    assert moved(None).norm() > 1e-2
    torch.testing.assert_close(moved(0.1), moved(None), rtol=1e-8, atol=1e-10)
    support = Batch(*(tensor[0] for tensor in episode.support))
    near, far, solved = (
        learner.adapt(learner.init(params), support)
        for learner in (
            BUILDS[name](problem.loss, sgd(), inner_clip_norm=clip, **changes) for clip in (0.1, 1e-5, None)
        )
    )
    torch.testing.assert_close(near, solved, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(far, solved, rtol=1e-6)  # still on its way after 120 steps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_a_clip_bears_any_finite_length(size: float, dtype: torch.dtype) -> None:
    """Squares of such numbers over- or underflow in float32; 0 stays 0, NaN stays NaN."""
    direction, pull_back = curb(size / 10)(torch.tensor([3 * size, 4 * size], dtype=dtype))
    torch.testing.assert_close(direction, torch.tensor([0.06, 0.08], dtype=dtype) * size, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        pull_back(torch.tensor([1.0, 0.0], dtype=dtype)),
        torch.tensor([0.0128, -0.0096], dtype=dtype),
        rtol=1e-5,
        atol=0,
    )
    zeros = torch.zeros(2, dtype=dtype)
    assert torch.equal(curb(size)(zeros)[0], zeros)
    assert torch.equal(curb(size)(zeros)[1](zeros + 1), zeros + 1)
    assert curb(size)(zeros / 0)[0].isnan().all()


@pytest.mark.parametrize("name", ["moml", "moml_v2", "nasa", "local_moml", "memory_reduced"])
def test_a_wild_event_leaves_the_memory_sound(name: str) -> None:
    """Labels 1e18 times too large wreck a memory without a clip; with one it stays where memories are."""
    kept = len(state_tensors(build(name, None).init(PROBLEM.start(generator(3))))) + 1
    memory = kept - 1
    per_visit = len(visits(build(name, None))) // 3
    wild, curbed = (visits(build(name, clip), scale=1e18, dtype=torch.float32) for clip in (None, 1.0))
    assert not wild[per_visit + memory].isfinite().all() or wild[per_visit + memory].abs().max() > 1e6
    assert curbed[per_visit + memory].isfinite().all()
    assert curbed[per_visit + memory].abs().max() < 10


@pytest.mark.parametrize("name", BUILDS)
def test_a_clip_must_be_positive(name: str) -> None:
    """The value is named."""
    with pytest.raises(ValueError, match="inner_clip_norm must be positive, got 0"):
        build(name, 0.0)
