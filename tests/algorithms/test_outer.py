"""Outer optimisers against PyTorch's own, and what the registry builds from the configuration."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from streammeta.algorithms.outer import Outer, clip_norm, sgd
from streammeta.algorithms.registry import build_learner, build_outer
from streammeta.config import Config
from streammeta.events import Batch, Episode
from tests.networks import network


def gradients(count: int, seed: int = 1) -> Tensor:
    """Random gradients of five numbers."""
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walk(outer: Outer, along: Tensor, lr: float = 0.1) -> list[Tensor]:
    """The parameters after each gradient, from zero."""
    params = torch.zeros(5, dtype=torch.float64)
    slots, path = outer.init(params), []
    for gradient in along:
        params, slots = outer.update(params, gradient, slots, torch.tensor(lr, dtype=torch.float64))
        path.append(params)
    return path


def walk_torch(along: Tensor, momentum: float, clip: float | None = None) -> list[Tensor]:
    """The same with `torch.optim.SGD` and `clip_grad_norm_`."""
    leaf = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimiser, path = torch.optim.SGD([leaf], lr=0.1, momentum=momentum), []
    for gradient in along:
        leaf.grad = gradient.clone()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([leaf], clip)
        optimiser.step()
        path.append(leaf.detach().clone())
    return path


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_is_that_of_torch(momentum: float) -> None:
    """After every one of thirty steps."""
    along = gradients(30)
    for ours, theirs in zip(walk(sgd(momentum=momentum), along), walk_torch(along, momentum), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("bound", [0.5, 2.0, 100.0])
def test_clip_norm_is_that_of_torch(bound: float) -> None:
    """Gradients above and below the bound, in front of momentum."""
    along = gradients(30)
    norms = along.norm(dim=1)
    assert bound == 100.0 or (norms > bound).any()
    ours = walk(clip_norm(sgd(momentum=0.9), bound), along)
    # torch divides by ‖g‖ + 1e-6
    for mine, theirs in zip(ours, walk_torch(along, 0.9, bound), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_clipped_step_has_the_length_of_the_bound() -> None:
    """The direction stays; a gradient at or below the bound keeps its bits; zero stays zero."""
    gradient = gradients(1)[0]
    step = -walk(clip_norm(sgd(), 0.25), gradient[None], lr=1.0)[0]
    assert step.norm().item() == pytest.approx(0.25, rel=1e-12)
    torch.testing.assert_close(step / step.norm(), gradient / gradient.norm())
    small = gradient / 1000
    assert torch.equal(-walk(clip_norm(sgd(), 0.25), small[None], lr=1.0)[0], small)
    assert not walk(clip_norm(sgd(), 0.25), torch.zeros(1, 5, dtype=torch.float64))[0].any()


def test_a_gradient_that_is_not_finite_stays_visible() -> None:
    """Clipping hides no overflow: the engine must see it and refuse the event."""
    for bad in (math.inf, math.nan):
        gradient = torch.tensor([[bad, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
        assert not walk(clip_norm(sgd(), 1.0), gradient)[0].isfinite().all()


def test_updates_are_pure() -> None:
    """Parameters, gradient and slots are left as they were."""
    outer = clip_norm(sgd(momentum=0.9), 0.1)
    params, gradient = gradients(2)
    slots = {"momentum": gradients(1, seed=2)[0]}
    before = [tensor.clone() for tensor in (params, gradient, slots["momentum"])]
    outer.update(params, gradient, slots, torch.tensor(0.1))
    assert all(map(torch.equal, before, (params, gradient, slots["momentum"])))


def test_only_momentum_costs_state() -> None:
    """Its slot has the parameters' shape and dtype, and begins at zero."""
    params = gradients(1)[0]
    assert sgd().init(params) == {}
    (slot,) = clip_norm(sgd(momentum=0.1), 1.0).init(params).values()
    assert (slot.shape, slot.dtype, slot.any().item()) == (params.shape, params.dtype, False)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, math.nan])
def test_momentum_out_of_range_is_refused(momentum: float) -> None:
    """At 1 a gradient would never be forgotten."""
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), got"):
        sgd(momentum=momentum)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_a_bound_that_is_not_positive_is_refused(bound: float) -> None:
    """It would stop learning without a word."""
    with pytest.raises(ValueError, match="clip_norm must be positive"):
        clip_norm(sgd(), bound)


def config_of(**tables: Any) -> Config:
    """A configuration of these tables."""
    return Config.model_validate(tables)


def test_the_registry_builds_what_outer_describes() -> None:
    """Momentum and clipping as set; both steps are those of the pieces."""
    along = gradients(10)
    for settings, expected in (
        ({"momentum": 0.5}, sgd(momentum=0.5)),
        ({"momentum": 0.0, "clip_norm": 0.5}, clip_norm(sgd(), 0.5)),
        ({}, sgd(momentum=0.9)),
    ):
        built = build_outer(config_of(outer=settings).outer)
        assert all(map(torch.equal, walk(built, along), walk(expected, along)))


@pytest.mark.parametrize(
    ("algorithm", "memory_size"),
    [
        ({}, 13),
        ({"name": "moml", "inner_lr": 0.7, "order": "first"}, 13),
        ({"name": "maml", "inner_lr": 0.7}, 0),
    ],
)
def test_the_registry_builds_what_algorithm_describes(algorithm: dict[str, Any], memory_size: int) -> None:
    """Memory per task by algorithm; the rates stand in the state, in the model's dtype."""
    config, made = config_of(algorithm=algorithm, outer={"lr": 0.3}), network()
    learner = build_learner(config.algorithm, config.outer, made)
    state = learner.init(made.initial)
    assert learner.memory_size == memory_size
    assert (state.inner_lr.item(), state.meta_lr.item()) == (algorithm.get("inner_lr", 0.01), 0.3)
    assert state.inner_lr.dtype == torch.float64
    assert set(state.outer) == {"momentum"}


@pytest.mark.parametrize(
    "change",
    [
        {"beta": 0.9},
        {"order": "first"},
        {"hessian_set": "half"},
        {"outer_scale": "beta"},
        {"inner_lr": 0.2},
        {"name": "maml"},
    ],
)
def test_each_setting_of_an_algorithm_reaches_it(change: dict[str, Any]) -> None:
    """Changing one changes what is learned from the same event."""
    made = network()
    draws = torch.Generator().manual_seed(3)
    x, y = (torch.randn(1, 4, n, generator=draws, dtype=torch.float64) for n in (2, 1))
    ends = []
    for settings in ({"inner_lr": 0.1}, {"inner_lr": 0.1} | change):
        config = config_of(algorithm=settings)
        learner = build_learner(config.algorithm, config.outer, made)
        memory = torch.ones(1, learner.memory_size, dtype=torch.float64)
        after, _, _ = learner.update(
            learner.init(made.initial),
            memory,
            torch.ones(1, dtype=torch.float64),
            Episode(Batch(x, y), Batch(x, y)),
        )
        ends.append(after.params)
    assert not torch.equal(*ends)
